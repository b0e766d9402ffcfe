"""What upsert, start and status do with SageMaker, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from fraudline.catalog.errors import InputError
from fraudline.orchestration.sagemaker import service

ROLE = "arn:aws:iam::123456789012:role/fraudline"


def definition(**parameters: str | None) -> str:
    listed = [
        {"Name": name, "Type": "String"} | ({} if default is None else {"DefaultValue": default})
        for name, default in parameters.items()
    ]
    return json.dumps({"Version": "2020-12-01", "Parameters": listed, "Steps": []})


@pytest.fixture
def name(aws: None) -> Iterator[str]:
    yield "fraud-model-training"
    sagemaker = boto3.client("sagemaker")
    for pipeline in sagemaker.list_pipelines()["PipelineSummaries"]:
        sagemaker.delete_pipeline(PipelineName=pipeline["PipelineName"], ClientRequestToken="t" * 32)


def deployed(name: str) -> Any:
    return boto3.client("sagemaker").describe_pipeline(PipelineName=name)


def test_a_pipeline_is_created_once_and_then_only_changed(name: str):
    """To send the same again would make a new version for nothing."""
    first, second = definition(Root=None), definition(Root="s3://ours")
    assert service.upsert(name, first, ROLE, {"team": "risk"}, dry_run=False) == f"{name}: created"
    assert service.upsert(name, first, ROLE, {}, dry_run=False) == f"{name}: unchanged"
    told = service.upsert(name, second, ROLE, {}, dry_run=False)
    assert told.startswith(f"{name}: updated\n")
    assert '+      "DefaultValue": "s3://ours",' in told.splitlines()
    assert json.loads(deployed(name)["PipelineDefinition"]) == json.loads(second)


def test_a_dry_run_shows_the_difference_and_changes_nothing(name: str):
    sent = definition(Root=None)
    assert service.upsert(name, sent, ROLE, {}, dry_run=True).startswith(f"{name}: would be created\n")
    assert boto3.client("sagemaker").list_pipelines()["PipelineSummaries"] == []
    service.upsert(name, sent, ROLE, {}, dry_run=False)
    told = service.upsert(name, sent, ROLE + "-other", {}, dry_run=True)
    assert told.splitlines() == [f"{name}: would be updated", f"-role {ROLE}", f"+role {ROLE}-other"]
    assert deployed(name)["RoleArn"] == ROLE


def test_an_execution_is_started_with_what_it_needs_and_nothing_else(name: str):
    """SageMaker would tell of the first wrong parameter, after the request; a typing error is told whole, before it."""
    with pytest.raises(InputError, match=r"there is no such pipeline; create it with: python pipeline\.py upsert"):
        service.start(name, "training-2026-04-01", {})
    service.upsert(name, definition(Root=None, AsOf=None, Rounds="600"), ROLE, {}, dry_run=False)
    with pytest.raises(InputError, match=rf"{name} has no parameter Round; it has Root, AsOf, Rounds"):
        service.start(name, "training-2026-04-01", {"Round": "7"})
    with pytest.raises(InputError, match=rf"{name} needs Root; give each with --set NAME=VALUE"):
        service.start(name, "training-2026-04-01", {"AsOf": "2026-04-01"})
    arn = service.start(name, "training-2026-04-01", {"AsOf": "2026-04-01", "Root": "s3://ours"})
    described = service.execution(arn)
    assert described["PipelineExecutionDisplayName"] == "training-2026-04-01"
    assert [summary["PipelineExecutionArn"] for summary in service.executions(name)] == [arn]
    assert "training-2026-04-01" in service.line_of_execution(service.executions(name)[0])


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[dict[str, Any]]]]:
    """What SageMaker says at each look: moto knows no steps. Shapes as in ListPipelineExecutionSteps' API reference."""
    from moto.sagemaker.models import FakePipelineExecution  # noqa: PLC0415
    from moto.sagemaker.responses import SageMakerResponse  # noqa: PLC0415

    looks: list[tuple[str, list[dict[str, Any]]]] = []

    def listed(_: Any) -> str:
        return json.dumps({"PipelineExecutionSteps": looks[0][1] if len(looks) == 1 else looks.pop(0)[1]})

    monkeypatch.setattr(SageMakerResponse, "list_pipeline_execution_steps", listed, raising=False)
    monkeypatch.setattr(
        FakePipelineExecution,
        "pipeline_execution_status",
        property(lambda _: looks[0][0], lambda *_: None),
        raising=False,
    )
    return looks


def step(name: str, status: str, took: float | None = None, **more: Any) -> dict[str, Any]:
    times = {"StartTime": 1.0e9} | ({} if took is None else {"EndTime": 1.0e9 + took})
    return {"StepName": name, "StepStatus": status, **times, **more}


@pytest.mark.parametrize(("last", "succeeded"), [("Succeeded", True), ("Failed", False)])
def test_each_step_is_told_as_it_begins_and_ends_and_a_failed_one_in_its_own_words(
    name: str, progress: list[tuple[str, list[dict[str, Any]]]], last: str, succeeded: bool
):
    service.upsert(name, definition(), ROLE, {}, dry_run=False)
    ended = step("ETL", last, 63, **({} if succeeded else {"FailureReason": "channel 'raw': nothing there"}))
    begun = ("Executing", [step("ETL", "Executing")])
    progress[:] = [begun, begun, (last, [ended])]
    arn = service.start(name, "x", {})
    lines: list[str] = []
    assert service.watch(arn, lines.append, seconds=0) is succeeded
    words = [line.split() for line in lines]
    assert words[0] == ["ETL", "Executing"]
    assert words[1][:4] == ["ETL", last, "63", "s"]
    assert ("channel 'raw': nothing there" in lines[1]) is not succeeded
    assert lines[2] == f"{arn}: {last}"
    assert len(lines) == 3


def test_what_stands_in_the_way_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="there is no AWS region; set AWS_DEFAULT_REGION"):
        service.client()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match="there are no AWS credentials; sign in"):
        service.executions("a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="check the network and the region"):
        service.executions("a")


def test_a_refusal_of_the_service_is_told_with_what_to_do(name: str):
    with pytest.raises(InputError, match=r"look at a: AWS answered [A-Za-z]+: .*; .*"):
        service.executions("a")
