"""The stack's template, derived from the catalog; these modules hold what only the stack knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fraudline.catalog.plan import title
from fraudline.orchestration.stack.alarms import alarms
from fraudline.orchestration.stack.events import events
from fraudline.orchestration.stack.functions import functions
from fraudline.orchestration.stack.glue_jobs import glue_jobs
from fraudline.orchestration.stack.intrinsics import Noted, Resources, attribute, choose, ref, sub
from fraudline.orchestration.stack.parameters import CONDITIONS, KNOWN, parameters
from fraudline.orchestration.stack.policies import job_policies
from fraudline.orchestration.stack.roles import roles
from fraudline.orchestration.stack.schedules import schedules
from fraudline.orchestration.stack.state_machines import state_machines
from fraudline.orchestration.stack.storage import storage
from fraudline.orchestration.stack.topics import logs, topics

VERSION = "2010-09-09"
_KNOWN_IF = {
    "subnets": "PipelinesInVpc",
    "security_groups": "PipelinesInVpc",
    "deploy_model_endpoint": "PipelinesWithEndpoint",
    "fraud_scoring_endpoint": "PipelinesWithEndpoint",
}


def template(definitions: Mapping[str, str]) -> dict[str, Any]:
    """Return the stack's template.

    Args:
        definitions: the text of each state machine's definition, by its name, such as ``daily_standard``.
    """
    sections = {
        "Storage": storage(),
        "Topics": topics(),
        "Logs": logs(),
        "Roles of stages: each reads and writes its stage's channels and nothing else": {**job_policies(), **roles()},
        "Glue jobs and Lambda functions": {**glue_jobs(), **functions()},
        "State machines, each with a role of its own": state_machines(definitions),
        "From schedules to state machines": schedules(),
        "Events": events(),
        "Alarms, all of which notify OperationsTopic": alarms(),
    }
    return {
        "AWSTemplateFormatVersion": VERSION,
        "Description": "Fraudline - training, daily scoring, single transactions and investigations",
        "Parameters": Noted(
            "Written by make docs from src/fraudline/orchestration/stack. make deploy fills in what is uploaded and "
            "published; docs/deploying.md explains the other parameters. The state machines' definitions lie in "
            "state_machines/, beside this file.\n",
            parameters(),
        ),
        "Conditions": CONDITIONS,
        "Resources": {
            name: resource for heading, content in sections.items() for name, resource in _headed(heading, content)
        },
        "Outputs": _outputs(),
    }


def _headed(heading: str, resources: Resources) -> list[tuple[str, Any]]:
    """Return a section's resources, the first of them below the section's heading."""
    (name, first), *others = resources.items()
    return [(name, Noted(f"{heading}\n", first)), *others]


def _outputs() -> dict[str, Any]:
    names = ("ScoresTable", "HistoryTable", "AlertsTopic", "CasesTopic", "OperationsTopic", "TrainingMachine",
             "DailyStandardMachine", "BackfillMachine", "RollbackMachine")  # fmt: skip
    return {
        "Data": {"Description": "Where raw/ and labeled/ are delivered", "Value": sub("s3://${DataBucket}")},
        "Root": {"Description": "Where every output is written", "Value": sub("s3://${ResultsBucket}")},
        **{name: {"Value": ref(name)} for name in names},
        **{queue: {"Value": attribute(queue)} for queue in ("ScheduleDeadLetters", "RealtimeDeadLetters")},
        "DailyMachine": {"Value": choose("Express", ref("DailyMachine"), ref("DailyStandardMachine"))},
        "PipelineRole": {"Condition": "Pipelines", "Value": attribute("PipelineRole")},
        **{f"{title(name)}Setting": _setting(name) for name in KNOWN},
    }


def _setting(name: str) -> dict[str, Any]:
    """Return an output with what the stack knows of a setting, for pipelines; none where it is empty."""
    condition, value = _KNOWN_IF.get(name, "Pipelines"), KNOWN[name]
    if condition == "PipelinesWithEndpoint":
        _, value, _ = value["Fn::If"]
    return {"Condition": condition, "Value": value}
