"""SageMaker Pipelines: create, change, start and watch; through boto3 alone, without the SDK."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import exceptions

from fraudline.catalog.errors import InputError

SECONDS_BETWEEN_LOOKS = 10
UNFINISHED = ("Executing", "Stopping")

# What a person can do about an answer of AWS.
_TO_DO = {
    "AccessDeniedException": "let the role of whoever calls do that, and pass --role to SageMaker (iam:PassRole)",
    "ExpiredTokenException": "renew the credentials",
    "UnrecognizedClientException": "check the credentials and the region",
    "InvalidClientTokenId": "check the credentials",
    "ThrottlingException": "wait a minute and try again",
    "ResourceLimitExceeded": "raise that quota in Service Quotas, or stop what holds it",
    "ResourceNotFound": "create it with: python pipeline.py upsert",
    "ConflictException": "wait until the change under way has ended",
    "ValidationException": "mend what it names; python pipeline.py definition shows what was sent",
}


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Tell AWS's refusals in a sentence with what to do.

    Raises:
        InputError: AWS, or the way to it, refused.
    """
    try:
        yield
    except exceptions.ClientError as error:
        code, said = error.response["Error"]["Code"], error.response["Error"]["Message"]
        to_do = _TO_DO.get(code, "look the code up in SageMaker's API reference")
        raise InputError(f"{doing}: AWS answered {code}: {said.rstrip('.')}; {to_do}") from error
    except exceptions.NoCredentialsError as error:
        raise InputError(f"{doing}: there are no AWS credentials; sign in, or set AWS_PROFILE") from error
    except exceptions.NoRegionError as error:
        raise InputError(f"{doing}: there is no AWS region; set AWS_DEFAULT_REGION") from error
    except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError) as error:
        raise InputError(f"{doing}: {error}; check the network and the region") from error


def client() -> Any:
    """A client of SageMaker, as the environment says."""
    with told("connect to SageMaker"):
        session = boto3.session.Session()
        return session.client("sagemaker", region_name=session.region_name)


def upsert(name: str, definition: str, role: str, tags: Mapping[str, str], *, dry_run: bool) -> str:
    """Create a pipeline, or change it where its definition or its role differ.

    Args:
        name: the pipeline's.
        definition: as JSON.
        role: ARN of the role that the pipeline acts as.
        tags: of a pipeline that is created.
        dry_run: change nothing.

    Returns:
        What was done, or would be, in words, and the difference.
    """
    sagemaker = client()
    with told(f"upsert {name}"):
        before = _described(sagemaker, name)
        old = json.loads(before["PipelineDefinition"]) if before else {}
        difference = _difference(old, json.loads(definition))
        changes = [*difference]
        if before and before["RoleArn"] != role:
            changes = [f"-role {before['RoleArn']}", f"+role {role}", *changes]
        if before and not changes:
            return f"{name}: unchanged"
        verb = "update" if before else "create"
        if dry_run:
            return "\n".join([f"{name}: would be {verb}d", *changes])
        request = {"PipelineName": name, "PipelineDefinition": definition, "RoleArn": role}
        if before:
            sagemaker.update_pipeline(**request)
        else:
            labels = [{"Key": key, "Value": value} for key, value in tags.items()]
            sagemaker.create_pipeline(**request, PipelineDisplayName=name, **({"Tags": labels} if labels else {}))
    return "\n".join([f"{name}: {verb}d", *(changes if before else ())])


def _described(sagemaker: Any, name: str) -> dict[str, Any] | None:
    pages = sagemaker.get_paginator("list_pipelines").paginate(PipelineNamePrefix=name)
    if not any(pipeline["PipelineName"] == name for page in pages for pipeline in page["PipelineSummaries"]):
        return None
    found: dict[str, Any] = sagemaker.describe_pipeline(PipelineName=name)
    return found


def _difference(old: Any, new: Any) -> list[str]:
    before, after = (json.dumps(value, indent=2, sort_keys=True).splitlines() if value else [] for value in (old, new))
    return list(difflib.unified_diff(before, after, "deployed", "new", n=2, lineterm=""))


def start(name: str, display_name: str, given: Mapping[str, str]) -> str:
    """Start an execution; its ARN.

    Args:
        name: the pipeline's.
        display_name: the execution's; a repeated one is no error, as an execution may be repeated.
        given: the pipeline's parameters by name; those that it has not are refused.
    """
    sagemaker = client()
    with told(f"start {name}"):
        described = _described(sagemaker, name)
    if described is None:
        raise InputError(f"start {name}: there is no such pipeline; create it with: python pipeline.py upsert")
    chosen = parameters(name, json.loads(described["PipelineDefinition"]), given)
    with told(f"start {name}"):
        started = sagemaker.start_pipeline_execution(
            PipelineName=name,
            PipelineExecutionDisplayName=display_name,
            PipelineParameters=[{"Name": key, "Value": value} for key, value in chosen.items()],
        )
    arn: str = started["PipelineExecutionArn"]
    return arn


def parameters(name: str, definition: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """The values that an execution is started with.

    Raises:
        InputError: one is unknown, or one without a default is missing.
    """
    known = {parameter["Name"]: parameter for parameter in definition["Parameters"]}
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    missing = [key for key, parameter in known.items() if "DefaultValue" not in parameter and key not in given]
    if missing:
        raise InputError(f"{name} needs {', '.join(missing)}; give each with --set NAME=VALUE")
    return dict(given)


def _steps(sagemaker: Any, arn: str) -> list[dict[str, Any]]:
    """An execution's steps that have begun, the first first."""
    pages = sagemaker.get_paginator("list_pipeline_execution_steps")
    with told(f"look at {arn}"):
        return [
            step
            for page in pages.paginate(PipelineExecutionArn=arn, SortOrder="Ascending")
            for step in page["PipelineExecutionSteps"]
        ]


def execution(arn: str) -> dict[str, Any]:
    """An execution's status, and why it failed."""
    return _execution(client(), arn)


def _execution(sagemaker: Any, arn: str) -> dict[str, Any]:
    with told(f"look at {arn}"):
        found: dict[str, Any] = sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
    return found


def executions(name: str, most: int = 10) -> list[dict[str, Any]]:
    """A pipeline's executions, the last first."""
    with told(f"look at {name}"):
        listed = client().list_pipeline_executions(
            PipelineName=name, SortBy="CreationTime", SortOrder="Descending", MaxResults=most
        )
    found: list[dict[str, Any]] = listed["PipelineExecutionSummaries"]
    return found


def watch(arn: str, tell: Callable[[str], None], seconds: float = SECONDS_BETWEEN_LOOKS) -> bool:
    """Tell of each step as it begins and ends, until the execution has ended; whether it succeeded."""
    sagemaker, shown = client(), set[str]()
    while True:
        status = _execution(sagemaker, arn)["PipelineExecutionStatus"]
        for line in map(line_of, _steps(sagemaker, arn)):
            if line not in shown:
                shown.add(line)
                tell(line)
        if status not in UNFINISHED:
            tell(f"{arn}: {status}")
            return bool(status == "Succeeded")
        time.sleep(seconds)


def line_of(step: Mapping[str, Any]) -> str:
    """A step in a line: its name, its status, how long it took, and why it failed."""
    begun, ended = step.get("StartTime"), step.get("EndTime")
    took = f"{_seconds(ended) - _seconds(begun):6.0f} s" if begun and ended else ""
    outcome = step.get("Metadata", {}).get("Condition", {}).get("Outcome")
    words = [step["StepName"].ljust(20), step["StepStatus"].ljust(10), took]
    if outcome is not None:
        words.append(f"outcome {outcome}")
    if reason := step.get("FailureReason"):
        words.append(str(reason))
    return " ".join(filter(None, words)).rstrip()


def _seconds(moment: Any) -> float:
    return float(moment if isinstance(moment, int | float) else moment.timestamp())


def show(arn: str, tell: Callable[[str], None]) -> bool:
    """Tell of an execution's steps as they are; whether it has not failed."""
    sagemaker = client()
    for step in _steps(sagemaker, arn):
        tell(line_of(step))
    found = _execution(sagemaker, arn)
    tell(" ".join(filter(None, [arn, found["PipelineExecutionStatus"], found.get("FailureReason")])))
    return bool(found["PipelineExecutionStatus"] != "Failed")


def line_of_execution(summary: Mapping[str, Any]) -> str:
    """An execution in a line: when it began, its status, its name and its ARN."""
    name = summary.get("PipelineExecutionDisplayName", "")
    begun = f"{summary['StartTime']:%Y-%m-%d %H:%M}"
    return f"{begun} {summary['PipelineExecutionStatus']:10} {name:22} {summary['PipelineExecutionArn']}"
