"""Create, update, start and watch SageMaker pipelines with boto3, without the SDK."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import boto3

from fraudline.catalog.errors import InputError
from fraudline.runtime import aws
from fraudline.runtime.aws_errors import explained

POLL_SECONDS = 10
UNFINISHED = ("Executing", "Stopping")


def client() -> Any:
    """Return a SageMaker client for the region and credentials of the environment."""
    with explained("connect to SageMaker"):
        session = boto3.session.Session(region_name=aws.region())
        return session.client("sagemaker", region_name=session.region_name)


def upsert(name: str, definition: str, role: str, tags: Mapping[str, str], *, dry_run: bool) -> str:
    """Create a pipeline, or update it if its definition or its role differ.

    Args:
        name: the pipeline's name.
        definition: the pipeline's definition, as JSON.
        role: ARN of the role that the pipeline runs as.
        tags: tags of a new pipeline.
        dry_run: change nothing.

    Returns:
        A text that says what was done, or would be done, with the difference as lines of a diff.
    """
    sagemaker = client()
    with explained(f"upsert {name}"):
        deployed = _describe(sagemaker, name)
        difference = _difference(deployed, definition, role)
        if deployed and not difference:
            return f"{name}: unchanged"
        verb = "update" if deployed else "create"
        if dry_run:
            return "\n".join([f"{name}: would be {verb}d", *difference])
        request: dict[str, Any] = {"PipelineName": name, "PipelineDefinition": definition, "RoleArn": role}
        if deployed:
            sagemaker.update_pipeline(**request)
            return "\n".join([f"{name}: updated", *difference])
        if tags:  # SageMaker rejects an empty list
            request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        sagemaker.create_pipeline(**request, PipelineDisplayName=name)
    return f"{name}: created"


def _describe(sagemaker: Any, name: str) -> dict[str, Any] | None:
    """Return the description of a deployed pipeline, or None if it does not exist."""
    pages = sagemaker.get_paginator("list_pipelines").paginate(PipelineNamePrefix=name)
    names = {pipeline["PipelineName"] for page in pages for pipeline in page["PipelineSummaries"]}
    if name not in names:
        return None
    description: dict[str, Any] = sagemaker.describe_pipeline(PipelineName=name)
    return description


def _difference(deployed: Mapping[str, Any] | None, definition: str, role: str) -> list[str]:
    """Return the difference between a deployed pipeline and a new definition and role, as lines of a diff."""
    roles = []
    if deployed and deployed["RoleArn"] != role:
        roles = [f"-role {deployed['RoleArn']}", f"+role {role}"]
    old = _lines(deployed["PipelineDefinition"]) if deployed else []
    return [*roles, *difflib.unified_diff(old, _lines(definition), "deployed", "new", n=2, lineterm="")]


def _lines(definition: str) -> list[str]:
    return json.dumps(json.loads(definition), indent=2, sort_keys=True).splitlines()


def start(name: str, display_name: str, values: Mapping[str, str]) -> str:
    """Start an execution of a pipeline and return its ARN.

    Args:
        name: the pipeline's name.
        display_name: the name of the execution; it need not be unique.
        values: the pipeline's parameters by name.

    Raises:
        InputError: there is no such pipeline, a parameter is unknown, or one without a default is missing.
    """
    sagemaker = client()
    with explained(f"start {name}"):
        deployed = _describe(sagemaker, name)
    if deployed is None:
        raise InputError(f"start {name}: there is no such pipeline; create it with: python pipeline.py upsert")
    # SageMaker would report only the first wrong parameter.
    check_values(name, json.loads(deployed["PipelineDefinition"]), values)
    with explained(f"start {name}"):
        execution = sagemaker.start_pipeline_execution(
            PipelineName=name,
            PipelineExecutionDisplayName=display_name,
            PipelineParameters=[{"Name": key, "Value": value} for key, value in values.items()],
        )
    arn: str = execution["PipelineExecutionArn"]
    return arn


def check_values(name: str, definition: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raise InputError if a value's parameter is unknown, or if a parameter without a default has no value."""
    defined = {parameter["Name"]: parameter for parameter in definition["Parameters"]}
    if unknown := sorted(set(values) - set(defined)):
        raise InputError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(defined)}")
    required = [key for key, parameter in defined.items() if "DefaultValue" not in parameter]
    if missing := [key for key in required if key not in values]:
        raise InputError(f"{name} needs {', '.join(missing)}; pass each with --set NAME=VALUE")


def execution(arn: str) -> dict[str, Any]:
    """Return the description of an execution, with its status and the reason of a failure."""
    return _execution(client(), arn)


def _execution(sagemaker: Any, arn: str) -> dict[str, Any]:
    with explained(f"describe {arn}"):
        description: dict[str, Any] = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    return description


def executions(name: str, limit: int = 10) -> list[dict[str, Any]]:
    """Return summaries of a pipeline's executions, latest first."""
    with explained(f"list executions of {name}"):
        answer = client().list_pipeline_executions(
            PipelineName=name, SortBy="CreationTime", SortOrder="Descending", MaxResults=limit
        )
    summaries: list[dict[str, Any]] = answer["PipelineExecutionSummaries"]
    return summaries


def watch(arn: str, report: Callable[[str], None], seconds: float = POLL_SECONDS) -> bool:
    """Report each step of an execution as it starts and ends, until the execution has ended.

    Args:
        arn: the ARN of the execution.
        report: receives one line at a time.
        seconds: the time between polls.

    Returns:
        True where the execution succeeded.
    """
    sagemaker, reported = client(), set[str]()
    while True:
        # Read the status before the steps: if the execution has ended, the steps are final.
        status = _execution(sagemaker, arn)["PipelineExecutionStatus"]
        for line in map(step_line, _steps(sagemaker, arn)):
            if line not in reported:
                reported.add(line)
                report(line)
        if status not in UNFINISHED:
            report(f"{arn}: {status}")
            return bool(status == "Succeeded")
        time.sleep(seconds)


def show(arn: str, report: Callable[[str], None]) -> bool:
    """Report the present state of each step of an execution; return False if the execution failed."""
    sagemaker = client()
    for step in _steps(sagemaker, arn):
        report(step_line(step))
    description = _execution(sagemaker, arn)
    report(_joined([arn, description["PipelineExecutionStatus"], description.get("FailureReason")]))
    return bool(description["PipelineExecutionStatus"] != "Failed")


def _steps(sagemaker: Any, arn: str) -> list[dict[str, Any]]:
    """Return the started steps of an execution, in the order in which they started."""
    paginator = sagemaker.get_paginator("list_pipeline_execution_steps")
    with explained(f"list steps of {arn}"):
        pages = paginator.paginate(PipelineExecutionArn=arn, SortOrder="Ascending")
        return [step for page in pages for step in page["PipelineExecutionSteps"]]


def step_line(step: Mapping[str, Any]) -> str:
    """Return one line about a step: name, status, duration, and the reason of a failure."""
    start, end = step.get("StartTime"), step.get("EndTime")
    duration = f"{_seconds(end) - _seconds(start):6.0f} s" if start and end else ""
    outcome = step.get("Metadata", {}).get("Condition", {}).get("Outcome")
    condition = "" if outcome is None else f"outcome {outcome}"
    columns = [step["StepName"].ljust(20), step["StepStatus"].ljust(10), duration, condition]
    return _joined([*columns, step.get("FailureReason")]).rstrip()


def execution_line(summary: Mapping[str, Any]) -> str:
    """Return one line about an execution: start time, status, name and ARN."""
    name = summary.get("PipelineExecutionDisplayName", "")
    start = f"{summary['StartTime']:%Y-%m-%d %H:%M}"
    return f"{start} {summary['PipelineExecutionStatus']:10} {name:22} {summary['PipelineExecutionArn']}"


def _joined(words: Iterable[str | None]) -> str:
    return " ".join(word for word in words if word)


def _seconds(moment: Any) -> float:
    """Return a time in seconds, from a datetime of boto3 or a number of the SDK's local mode."""
    return float(moment if isinstance(moment, int | float) else moment.timestamp())
