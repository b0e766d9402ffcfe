"""A day that does not fit into EXPRESS is taken over by its STANDARD twin, without anybody's help."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds

from tests.aws import states
from tests.aws.engine import Engine, drain_notifications, queue_url, subscribe

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

Outputs = dict[str, str]


@pytest.fixture(scope="module")
def outputs(deployed: Callable[..., Outputs]) -> Outputs:
    return deployed(Threshold=0.7)


@pytest.fixture(scope="module")
def operations(outputs: Outputs) -> str:
    return subscribe(outputs["OperationsTopic"], "subscriber")


@pytest.fixture(autouse=True)
def slow(cloud: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every function take two seconds."""

    def invoke(*_: Any) -> tuple[str, bool, str]:
        time.sleep(2)
        return json.dumps({"summary": "s3://bucket/summary.json", "counts": {}}), False, ""

    monkeypatch.setattr(cloud.functions, "invoke", invoke)


def fire(cloud: Engine, day: int) -> None:
    cloud.fire("DailySchedule", datetime(2026, 4, day, 6, tzinfo=UTC))


def started(cloud: Engine, outputs: Outputs, as_of: str) -> list[dict[str, Any]]:
    """Return the inputs of the STANDARD twin's executions for a day."""
    arn, client = outputs["DailyMachine"].replace("fraud-daily", "fraud-daily-standard"), boto3.client("stepfunctions")
    executions = [it for it in cloud.executions(arn) if it["name"].startswith(f"daily-{as_of}-")]
    return [json.loads(client.describe_execution(executionArn=it["executionArn"])["input"]) for it in executions]


def count_messages() -> int:
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=queue_url("fraud-daily"), AttributeNames=["All"])
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def test_a_stage_that_takes_too_long_hands_the_day_over(
    cloud: Engine, outputs: Outputs, operations: str, monkeypatch: pytest.MonkeyPatch
):
    seconds = TimeoutSeconds._eval_seconds
    # The first stage's own time-out, 70 s, passes in one second.
    monkeypatch.setattr(
        TimeoutSeconds, "_eval_seconds", lambda it, env: 1 if it.timeout_seconds == 70 else seconds(it, env)
    )
    fire(cloud, 2)
    (answer,) = cloud.poll("DailyPipe")
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"])["status"] == "handed over"
    (content,) = started(cloud, outputs, "2026-04-02")
    assert (content["as_of"], content["threshold"]) == ("2026-04-02", "0.7")
    notices = drain_notifications(operations)
    (notice,) = [it for it in notices if it["error"] == "States.Timeout"]
    assert notice["execution"] == answer["executionArn"]
    assert count_messages() == 0


def test_a_day_that_times_out_is_handed_over_at_its_last_delivery(
    cloud: Engine, outputs: Outputs, operations: str, monkeypatch: pytest.MonkeyPatch
):
    """Retries may use up the time; then no Catch runs, and the message is delivered again."""
    monkeypatch.setattr(states, "EXPRESS_SECONDS", 1)
    fire(cloud, 3)
    answers = [answer for _ in range(4) for answer in cloud.poll("DailyPipe")]
    assert [answer["status"] for answer in answers] == ["TIMED_OUT", "TIMED_OUT", "SUCCEEDED"]
    assert len(started(cloud, outputs, "2026-04-03")) == 1
    assert "LastDelivery" in {it["error"] for it in drain_notifications(operations)}
    assert count_messages() == 0
