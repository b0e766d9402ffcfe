"""State machines as resources: each has a definition, values for its placeholders, and a role of its own."""

from __future__ import annotations

from collections.abc import Mapping

from fraudline.orchestration.stack.intrinsics import Noted, Resource, Resources, attribute, ref, sub
from fraudline.orchestration.stack.machines import MACHINES, StateMachine
from fraudline.orchestration.stack.policies import OF_THIS_ACCOUNT, managed_policy, role, statement
from fraudline.orchestration.stack.substitutions import substitutions


def state_machines(definitions: Mapping[str, str]) -> Resources:
    """Return the state machines and their roles.

    Args:
        definitions: each definition's text, by the state machine's name.
    """
    resources: Resources = {"MachinePolicy": _policy()}
    for machine in MACHINES:
        resources[f"{machine.logical_id}Role"] = role(
            ["states"], machine.name.replace("_", "-"), machine.statements, ["MachinePolicy"], OF_THIS_ACCOUNT
        )
        resources[machine.logical_id] = _state_machine(machine, definitions[machine.name])
    return resources


def _state_machine(machine: StateMachine, definition: str) -> Resource:
    values = substitutions(definition)
    destination = {"CloudWatchLogsLogGroup": {"LogGroupArn": attribute("MachinesLogs")}}
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": sub(f"${{Name}}-{machine.name.replace('_', '-')}"),
            "StateMachineType": machine.kind,
            "RoleArn": attribute(f"{machine.logical_id}Role"),
            "DefinitionS3Location": {
                "Bucket": ref("ArtifactsBucket"),
                "Key": sub(f"${{ArtifactsPrefix}}/state_machines/{machine.name}.asl.json"),
            },
            **({"DefinitionSubstitutions": values} if values else {}),
            "LoggingConfiguration": Noted(
                "Never what passes between states: it names customers.",
                {"Level": "ERROR", "IncludeExecutionData": False, "Destinations": [destination]},
            ),
            "TracingConfiguration": {"Enabled": True},
        },
    }


def _policy() -> Resource:
    return managed_policy(
        "What Step Functions does on behalf of any state machine",
        # Deliveries of logs have no ARNs.
        statement(
            "Log",
            [
                "logs:CreateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:DescribeLogGroups",
                "logs:DescribeResourcePolicies",
                "logs:GetLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:UpdateLogDelivery",
            ],
            "*",
        ),
        statement(
            "Trace",
            ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"],
            "*",
        ),
    )
