"""Upsert, start, status and watch of SageMaker pipelines, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from fraudline.catalog.errors import InputError
from fraudline.orchestration.sagemaker import service

ROLE = "arn:aws:iam::123456789012:role/fraudline"
# What SageMaker answers at each look: the execution's status and its steps.
Looks = list[tuple[str, list[dict[str, Any]]]]


def definition(**parameters: str | None) -> str:
    """Return a pipeline without steps; parameters with their defaults, None for no default."""
    items = [
        {"Name": name, "Type": "String"} | ({} if default is None else {"DefaultValue": default})
        for name, default in parameters.items()
    ]
    return json.dumps({"Version": "2020-12-01", "Parameters": items, "Steps": []})


@pytest.fixture
def name(aws: None) -> Iterator[str]:
    """A pipeline's name; afterwards every pipeline is deleted."""
    yield "fraud-model-training"
    sagemaker = boto3.client("sagemaker")
    for pipeline in sagemaker.list_pipelines()["PipelineSummaries"]:
        sagemaker.delete_pipeline(PipelineName=pipeline["PipelineName"], ClientRequestToken="t" * 32)


def deployed(name: str) -> Any:
    return boto3.client("sagemaker").describe_pipeline(PipelineName=name)


def test_a_pipeline_is_created_once_and_updated_on_difference(name: str):
    """Sending the same definition again would create a new version for nothing."""
    first, second = definition(Root=None), definition(Root="s3://results")
    assert service.upsert(name, first, ROLE, {"team": "risk"}, dry_run=False) == f"{name}: created"
    assert service.upsert(name, first, ROLE, {}, dry_run=False) == f"{name}: unchanged"
    report = service.upsert(name, second, ROLE, {}, dry_run=False)
    assert report.startswith(f"{name}: updated\n")
    assert '+      "DefaultValue": "s3://results",' in report.splitlines()
    assert json.loads(deployed(name)["PipelineDefinition"]) == json.loads(second)


def test_a_dry_run_shows_the_difference_and_changes_nothing(name: str):
    content = definition(Root=None)
    assert service.upsert(name, content, ROLE, {}, dry_run=True).startswith(f"{name}: would be created\n")
    assert boto3.client("sagemaker").list_pipelines()["PipelineSummaries"] == []
    service.upsert(name, content, ROLE, {}, dry_run=False)
    report = service.upsert(name, content, ROLE + "-other", {}, dry_run=True)
    assert report.splitlines() == [f"{name}: would be updated", f"-role {ROLE}", f"+role {ROLE}-other"]
    assert deployed(name)["RoleArn"] == ROLE


def test_wrong_parameters_are_all_named_before_the_request(name: str):
    """SageMaker would report the first one only, after the request."""
    with pytest.raises(InputError, match=r"there is no such pipeline; create it with: python pipeline\.py upsert"):
        service.start(name, "training-2026-04-01", {})
    service.upsert(name, definition(Root=None, AsOf=None, Rounds="600"), ROLE, {}, dry_run=False)
    with pytest.raises(InputError, match=rf"{name} has no parameter Round; it has Root, AsOf, Rounds"):
        service.start(name, "training-2026-04-01", {"Round": "7"})
    with pytest.raises(InputError, match=rf"{name} needs Root; pass each with --set NAME=VALUE"):
        service.start(name, "training-2026-04-01", {"AsOf": "2026-04-01"})


def test_a_started_execution_is_listed_under_its_name(name: str):
    service.upsert(name, definition(Root=None, AsOf=None, Rounds="600"), ROLE, {}, dry_run=False)
    arn = service.start(name, "training-2026-04-01", {"AsOf": "2026-04-01", "Root": "s3://results"})
    assert service.execution(arn)["PipelineExecutionDisplayName"] == "training-2026-04-01"
    assert [summary["PipelineExecutionArn"] for summary in service.executions(name)] == [arn]
    assert "training-2026-04-01" in service.execution_line(service.executions(name)[0])


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Answers of SageMaker, one per look; moto knows no steps. Shapes of ListPipelineExecutionSteps' API reference."""
    from moto.sagemaker.models import FakePipelineExecution  # noqa: PLC0415
    from moto.sagemaker.responses import SageMakerResponse  # noqa: PLC0415

    looks: Looks = []

    def list_steps(_: Any) -> str:
        _, steps = looks[0] if len(looks) == 1 else looks.pop(0)
        return json.dumps({"PipelineExecutionSteps": steps})

    def status(_: Any) -> str:
        return looks[0][0]

    monkeypatch.setattr(SageMakerResponse, "list_pipeline_execution_steps", list_steps, raising=False)
    status_property = property(status, lambda *_: None)  # moto sets it as it starts an execution
    monkeypatch.setattr(FakePipelineExecution, "pipeline_execution_status", status_property, raising=False)
    return looks


def step(name: str, status: str, seconds: float | None = None, **more: Any) -> dict[str, Any]:
    times = {"StartTime": 1.0e9} | ({} if seconds is None else {"EndTime": 1.0e9 + seconds})
    return {"StepName": name, "StepStatus": status, **times, **more}


@pytest.mark.parametrize(("last", "succeeded"), [("Succeeded", True), ("Failed", False)])
def test_each_step_is_reported_once_with_why_it_failed(name: str, looks: Looks, last: str, succeeded: bool):
    service.upsert(name, definition(), ROLE, {}, dry_run=False)
    reason = {} if succeeded else {"FailureReason": "channel 'raw': nothing there"}
    executing = ("Executing", [step("ETL", "Executing")])
    looks[:] = [executing, executing, (last, [step("ETL", last, 63, **reason)])]
    arn = service.start(name, "x", {})
    lines: list[str] = []
    assert service.watch(arn, lines.append, seconds=0) is succeeded
    words = [line.split() for line in lines]
    assert words[0] == ["ETL", "Executing"]
    assert words[1][:4] == ["ETL", last, "63", "s"]
    assert ("channel 'raw': nothing there" in lines[1]) is not succeeded
    assert lines[2] == f"{arn}: {last}"
    assert len(lines) == 3


def test_a_missing_region_credential_or_network_is_explained(monkeypatch: pytest.MonkeyPatch):
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="connect to SageMaker: You must specify a region; set AWS_REGION"):
        service.client()
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match="list executions of a: Unable to locate credentials; sign in"):
        service.executions("a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="check the network and the region"):
        service.executions("a")


def test_an_error_of_the_service_is_explained(name: str):
    with pytest.raises(InputError, match=r"list executions of a: AWS answered [A-Za-z]+: .*; .*"):
        service.executions("a")
