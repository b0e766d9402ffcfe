"""State machines, each with a role of its own for what its tasks call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fraudline.catalog.plan import JobPlan, plan, settings, title
from fraudline.catalog.stages import IMAGES
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.orchestration.stack.functions import functions
from fraudline.orchestration.stack.intrinsics import (
    Noted,
    Resource,
    Resources,
    Value,
    arn,
    attribute,
    choose,
    join,
    ref,
    sub,
)
from fraudline.orchestration.stack.parameters import KEY, KNOWN, PER_EXECUTION
from fraudline.orchestration.stack.policies import (
    OF_THIS_ACCOUNT,
    Statement,
    encrypt,
    managed_policy,
    pass_roles,
    role,
    statement,
)
from fraudline.orchestration.stack.roles import GLUE_STAGES, roles
from fraudline.orchestration.step_functions.jobs import runs_on_glue

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
# Names of jobs begin with these, whatever their stage.
_JOB_NAMES = {"Training": "training-job/fraud-model-*", "Processing": "processing-job/fraudline-*"}
_NOTIFY = statement("Notify", "sns:Publish", ref("OperationsTopic"))


@dataclass(frozen=True)
class StateMachine:
    """A state machine of the stack.

    Attributes:
        name: of its definition's file.
        kind: STANDARD waits for jobs and people, EXPRESS for functions, five minutes in all.
        statements: what its role may do.
    """

    name: str
    kind: Literal["STANDARD", "EXPRESS"]
    statements: Sequence[Statement]

    @property
    def logical_id(self) -> str:
        """Return its name in the template."""
        return f"{title(self.name)}Machine"


def machines() -> tuple[StateMachine, ...]:
    """Return every state machine."""
    return (
        StateMachine("training", "STANDARD", [*_run_jobs("training"), _NOTIFY, _encrypt_jobs()]),
        StateMachine("daily", "EXPRESS", [_invoke_stages("daily"), _NOTIFY, _count_rejected(), encrypt()]),
        StateMachine("daily_standard", "STANDARD", [*_run_jobs("daily"), _NOTIFY, _encrypt_jobs()]),
        StateMachine("publish_history", "EXPRESS", [_invoke("PublishHistory"), _NOTIFY, encrypt()]),
        StateMachine(
            "realtime",
            "EXPRESS",
            [
                _invoke("RealtimeFeatures", "RealtimeHistory", "RealtimeScore"),
                statement("KeepFailed", "sqs:SendMessage", attribute("RealtimeDeadLetters")),
                encrypt(),
            ],
        ),
        StateMachine(
            "investigation",
            "STANDARD",
            [
                statement("Notify", "sns:Publish", [ref(f"{it}Topic") for it in ("Cases", "Escalation", "Operations")]),
                statement("KeepCases", ["dynamodb:PutItem", "dynamodb:UpdateItem"], attribute("CasesTable")),
                statement("WriteLabels", "s3:PutObject", sub("${DataBucket.Arn}/labeled/investigations/*")),
                encrypt(),
            ],
        ),
        StateMachine(
            "start",
            "EXPRESS",
            [statement("Start", "states:StartExecution", [ref("TrainingMachine"), ref("DailyStandardMachine")])],
        ),
        StateMachine("start_pipeline", "EXPRESS", [_start_pipelines("daily", "training")]),
        StateMachine(
            "deployment",
            "EXPRESS",
            [
                _start_pipelines("deployment"),
                statement("ReadPackages", "sagemaker:DescribeModelPackage", arn("sagemaker", "model-package/*")),
            ],
        ),
    )


def state_machines(definitions: Mapping[str, str]) -> Resources:
    """Return the state machines and their roles.

    Args:
        definitions: each definition's text, by the state machine's name.
    """
    resources: Resources = {"MachinePolicy": _policy()}
    for machine in machines():
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


# Values of definitions


def substitutions(definition: str) -> dict[str, Value]:
    """Return a value for each placeholder of a definition.

    Raises:
        ValueError: a placeholder has no value.
    """
    values, names = _values(), set(_PLACEHOLDER.findall(definition))
    if unknown := sorted(names - set(values)):
        raise ValueError(f"no value for ${{{unknown[0]}}}; a definition may name {', '.join(sorted(values))}")
    return {name: values[name] for name in sorted(names)}


def _values() -> dict[str, Value]:
    names = ("AnswerSeconds", "CasesTable", "CasesTopic", "DataBucket", "EscalationSeconds", "EscalationTopic",
             "OperationsTopic", "ProcessingInstance", "RealtimeDeadLetters", "TrainingInstance")  # fmt: skip
    return {
        **{title(name): KNOWN.get(name, ref(title(name))) for name in settings() if name not in PER_EXECUTION},
        **{name: ref(name) for name in (*names, *GLUE_STAGES.values(), *(f"{it.title()}Image" for it in IMAGES))},
        **{name: attribute(name) for name in (*roles(), *functions()) if name.endswith(("Role", "Function"))},
        **{f"{title(name)}Pipeline": workflow.pipeline for name, workflow in WORKFLOWS.items()},
        "Data": sub("s3://${DataBucket}"),
        "Root": sub("s3://${ResultsBucket}"),
        "HistoryUri": sub("dynamodb://${HistoryTable}"),
        "KeyArn": KEY,
        "Network": Noted("In base 64, because a text of the definition holds it, quotation marks and all.", _network()),
    }


def _network() -> Value:
    """Return the NetworkConfig of Processing jobs."""
    vpc = '"VpcConfig": {"Subnets": ["${Subnets}"], "SecurityGroupIds": ["${Groups}"]}'
    quoted = '", "'
    inside = sub(
        f'{{"EnableNetworkIsolation": false, {vpc}}}',
        Subnets=join(quoted, ref("SubnetIds")),
        Groups=join(quoted, ref("SecurityGroupIds")),
    )
    return {"Fn::Base64": choose("InVpc", inside, '{"EnableNetworkIsolation": false}')}


# What roles may do


def _run_jobs(workflow: str) -> list[Statement]:
    """Allow to run a workflow's jobs, on AWS Glue and on SageMaker."""
    glue = [GLUE_STAGES[job.stage.name] for job in plan(workflow) if runs_on_glue(job)]
    jobs = [job for job in plan(workflow) if not runs_on_glue(job)]
    kinds = sorted({_kind(job) for job in jobs}, reverse=True)
    verbs = [f"sagemaker:{verb}{kind}Job" for verb in ("Create", "Describe", "Stop") for kind in sorted(kinds)]
    rules = [arn("events", f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule") for kind in kinds]
    return [
        *([_run_glue(glue)] if glue else []),
        statement("RunJobs", ["sagemaker:AddTags", *verbs], [arn("sagemaker", _JOB_NAMES[kind]) for kind in kinds]),
        pass_roles("PassRoles", [attribute(name) for name in sorted(f"{job.stage.step}Role" for job in jobs)]),
        # Step Functions hears by events that a job ended.
        statement("WatchJobs", ["events:DescribeRule", "events:PutRule", "events:PutTargets"], rules),
    ]


def _kind(job: JobPlan) -> str:
    return "Training" if job.stage.platform == "training" else "Processing"


def _run_glue(jobs: list[str]) -> Statement:
    actions = ["glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"]
    return statement("RunGlue", actions, [arn("glue", f"job/${{{job}}}") for job in jobs])


def _encrypt_jobs() -> Statement:
    return encrypt("kms:CreateGrant", "kms:DescribeKey")


def _invoke_stages(workflow: str) -> Statement:
    return _invoke(*sorted(job.stage.step for job in plan(workflow)))


def _invoke(*titles: str) -> Statement:
    return statement("Invoke", "lambda:InvokeFunction", [attribute(f"{it}Function") for it in titles])


def _count_rejected() -> Statement:
    # The action has no resource; the namespace is its only limit.
    namespace = {"StringEquals": {"cloudwatch:namespace": "Fraudline"}}
    return statement("Count", "cloudwatch:PutMetricData", "*", namespace)


def _start_pipelines(*workflows: str) -> Statement:
    pipelines = [arn("sagemaker", f"pipeline/{WORKFLOWS[name].pipeline}") for name in workflows]
    return statement("StartPipelines", "sagemaker:StartPipelineExecution", pipelines)


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
