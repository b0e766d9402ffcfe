"""The daily path, executed: schedule, queue, pipe, EXPRESS state machine, five functions of the real images."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.contract import contract
from fraudline.catalog.risk import URGENT
from fraudline.features.history_table import HistoryTable
from fraudline.runtime import dynamodb, s3
from fraudline.simulate import simulate
from tests.aws.engine import Engine, drain, drain_notifications, queue_url, subscribe

pytestmark = [
    pytest.mark.docker,
    # moto's server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SETTINGS = {"rounds": 60, "samples": 50, "min_average_precision": 0.05, "min_card_precision": 0}
THRESHOLD = 0.3  # so low that a small model has some scores above it


def fraudline(*arguments: object) -> None:
    """Run the command line."""
    command = [sys.executable, "-m", "fraudline", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@dataclass(frozen=True)
class LocalRun:
    """A training and the day after it, run on this computer over simulated deliveries.

    Attributes:
        data: the deliveries.
        root: what the workflows wrote.
    """

    data: Path
    root: Path

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """Return the day's alerts."""
        file = self.root / f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
        return [json.loads(alert) for alert in file.read_text().splitlines()]

    @property
    def scores(self) -> pl.DataFrame:
        """Return the day's scores."""
        return pl.read_parquet(self.root / f"executions/daily-{SCORED}/Scores/scores/*.parquet")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    data, root = tmp_path_factory.mktemp("delivered"), tmp_path_factory.mktemp("local")
    simulate(data, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    locations = ["--data", data, "--root", root]
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    fraudline("run", "training", "--as-of", TRAINED, *locations, *settings)
    fraudline("run", "daily", "--as-of", SCORED, *locations, "--set", f"threshold={THRESHOLD}")
    return LocalRun(data, root)


@dataclass(frozen=True)
class Stack:
    """The stack, with deliveries, a champion and a history, and a subscriber to each topic.

    Attributes:
        engine: the AWS in which the stack runs.
        outputs: the stack's outputs.
        queues: URL of the queue that receives each topic's messages.
    """

    engine: Engine
    outputs: dict[str, str]
    queues: dict[str, str]

    def deliver(self, as_of: date) -> list[dict[str, Any]]:
        """Send the schedule's message of a day, let the pipe take it, and return the state machine's answers."""
        self.engine.fire("DailySchedule", datetime(as_of.year, as_of.month, as_of.day, 6, tzinfo=UTC))
        return self.engine.poll("DailyPipe")

    def notifications(self, topic: str) -> list[dict[str, Any]]:
        """Return a topic's messages since the last call."""
        return drain_notifications(self.queues[topic])

    def executions(self, state_machine: str) -> list[dict[str, Any]]:
        """Return the executions of a state machine by its name without the stack's prefix."""
        return self.engine.executions(self.outputs["DailyMachine"].replace("daily", state_machine))

    def count_messages(self, queue: str) -> int:
        """Return the number of messages in a queue, those in flight too."""
        client = boto3.client("sqs")
        attributes = client.get_queue_attributes(QueueUrl=queue_url(queue), AttributeNames=["All"])["Attributes"]
        return sum(int(attributes[name]) for name in attributes if name.startswith("ApproximateNumberOfMessages"))


@pytest.fixture(scope="module")
def stack(local: LocalRun, cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Stack:
    outputs = deployed(Threshold=THRESHOLD)
    for name in ("raw", "labeled"):
        s3.upload(local.data / name, f"{outputs['Data']}/{name}/", str)
    for name in ("champion", f"history/{contract()}/before={TRAINED}"):  # as on the morning of that day
        s3.upload(local.root / name, f"{outputs['Root']}/{name}/", str)
    queues = {topic: subscribe(outputs[topic], f"subscriber-{topic}") for topic in ("AlertsTopic", "OperationsTopic")}
    return Stack(cloud, outputs, queues)


@dataclass(frozen=True)
class Day:
    """One day of the stack: the state machine's answer, and the messages to each topic."""

    answer: dict[str, Any]
    alerts: list[dict[str, Any]]
    operations: list[dict[str, Any]]


@pytest.fixture(scope="module")
def day(stack: Stack) -> Day:
    (answer,) = stack.deliver(SCORED)
    return Day(answer, stack.notifications("AlertsTopic"), stack.notifications("OperationsTopic"))


@pytest.fixture
def written(stack: Stack, day: Day, tmp_path: Path) -> Path:
    """Return a copy of all that the stack wrote."""
    s3.fetch(f"{stack.outputs['Root']}/", tmp_path)
    return tmp_path


def test_the_daily_run_equals_the_local_run_bit_for_bit(local: LocalRun, stack: Stack, day: Day, written: Path):
    assert (day.answer["status"], day.operations) == ("SUCCEEDED", [])
    expected = [path.relative_to(local.root) for path in sorted(local.root.rglob("*.parquet"))]
    tables = [path for path in expected if path.parts[0] != "executions" or path.parts[1] == f"daily-{SCORED}"]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(local.root / path), pl.read_parquet(written / path))
    scores = f"executions/daily-{SCORED}/Scores/scores"
    for path in [path.relative_to(local.root) for path in (local.root / scores).glob("*.parquet")]:
        assert (local.root / path).read_bytes() == (written / path).read_bytes()
    alerts = f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
    assert (local.root / alerts).read_bytes() == (written / alerts).read_bytes()
    assert (written / f"reports/date={TRAINED}/fraud-daily-{TRAINED}.pdf").read_bytes().startswith(b"%PDF")
    assert stack.count_messages("fraud-daily") == 0


@pytest.mark.usefixtures("day")
def test_every_score_is_in_the_table(local: LocalRun, stack: Stack):
    expected = {row["transaction_id"]: row for row in local.scores.iter_rows(named=True)}
    stored = {item["key"]["S"]: item for item in dynamodb.get(stack.outputs["ScoresTable"], expected)}
    assert stored.keys() == expected.keys()
    for key, item in stored.items():
        assert float(item["fraud_score"]["N"]) == expected[key]["fraud_score"]
        assert ("flagged_day" in item) is (expected[key]["risk_level"] != "LOW")


def test_every_alert_is_sent_once(local: LocalRun, day: Day):
    """Urgent alerts one by one, the others in digests."""
    urgent = [message for message in day.alerts if "alerts" not in message]
    digested = [alert for message in day.alerts for alert in message.get("alerts", [])]
    assert urgent == [alert for alert in local.alerts if alert["alert_priority"] == URGENT]
    assert digested == [alert for alert in local.alerts if alert["alert_priority"] != URGENT]
    assert urgent
    assert digested


@pytest.mark.usefixtures("day")
def test_a_case_is_opened_for_each_customer_with_alerts(local: LocalRun, stack: Stack):
    cases = stack.executions("investigation")
    assert {case["name"][:10] for case in cases} == {str(TRAINED)}
    assert {case["status"] for case in cases} == {"RUNNING"}
    client = boto3.client("stepfunctions")
    inputs = [json.loads(client.describe_execution(executionArn=case["executionArn"])["input"]) for case in cases]
    investigated = [alert["transaction_id"] for case in inputs for alert in case["alerts"]]
    assert sorted(investigated) == sorted(alert["transaction_id"] for alert in local.alerts)


@pytest.mark.usefixtures("day")
def test_the_history_table_is_ready_for_the_next_day(stack: Stack):
    executions = [stack.engine.wait_for(each["executionArn"]) for each in stack.executions("publish-history")]
    # One for the history that was uploaded, one for the day's own.
    assert [execution["status"] for execution in executions] == ["SUCCEEDED"] * 2
    HistoryTable(f"dynamodb://{stack.outputs['HistoryTable']}").check(SCORED, 7)


@pytest.mark.usefixtures("day")
def test_a_repeated_message_changes_and_sends_nothing(stack: Stack, written: Path, tmp_path_factory: Any):
    cases = stack.executions("investigation")
    (answer,) = stack.deliver(SCORED)
    assert answer["status"] == "SUCCEEDED"
    assert (stack.notifications("AlertsTopic"), stack.notifications("OperationsTopic")) == ([], [])
    assert stack.executions("investigation") == cases
    rewritten = tmp_path_factory.mktemp("rewritten")
    s3.fetch(f"{stack.outputs['Root']}/scores/", rewritten)
    for path in rewritten.rglob("*.parquet"):
        assert path.read_bytes() == (written / "scores" / path.relative_to(rewritten)).read_bytes()


@pytest.fixture
def claimed(stack: Stack, day: Day) -> Iterator[dict[str, Any]]:
    """Claim the day for another runner, and return the item of the claim."""
    until = str(int(time.time()) + 900)
    item = {"key": {"S": f"claim/{TRAINED}"}, "claimed_by": {"S": "another"}, "claimed_until": {"N": until}}
    boto3.client("dynamodb").put_item(TableName=stack.outputs["ScoresTable"], Item=item)
    yield item
    release(stack, item)


def release(stack: Stack, item: dict[str, Any]) -> None:
    """Delete a claim."""
    boto3.client("dynamodb").delete_item(TableName=stack.outputs["ScoresTable"], Key={"key": item["key"]})


def test_a_function_that_fails_once_is_retried_alone(
    stack: Stack, claimed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """The reason is gone at the second attempt: another runner has released the day."""
    answers: list[tuple[str, str]] = []

    def on_answer(function: str, answer: Any) -> None:
        answers.append((function, answer.get("errorType", "")))
        if "errorType" in answer:
            release(stack, claimed)

    monkeypatch.setattr(stack.engine.functions, "on_answer", on_answer)
    stack.engine.waits.clear()
    (answer,) = stack.deliver(SCORED)
    assert answer["status"] == "SUCCEEDED"
    assert answers[4:] == [("fraud-alert-and-store", "StageFailed"), ("fraud-alert-and-store", "")]
    (waited,) = stack.engine.waits
    assert 0 <= waited <= 5  # full jitter over the first interval of 5 seconds
    assert [error for _, error in answers[:4]] == [""] * 4
    assert (stack.notifications("AlertsTopic"), stack.notifications("OperationsTopic")) == ([], [])


def test_a_failed_day_sends_a_notice_and_is_delivered_again(stack: Stack, claimed: dict[str, Any]):
    (failed,) = stack.deliver(SCORED)
    assert (failed["status"], failed["error"]) == ("FAILED", "StageFailed")
    (notice,) = stack.notifications("OperationsTopic")
    assert (notice["workflow"], notice["as_of"], notice["error"]) == ("daily", str(SCORED), "StageFailed")
    assert f"another runner has claimed {TRAINED}" in notice["cause"]
    assert stack.count_messages("fraud-daily") == 1
    release(stack, claimed)
    (answer,) = stack.engine.poll("DailyPipe")
    assert answer["status"] == "SUCCEEDED"
    assert (stack.count_messages("fraud-daily"), stack.notifications("AlertsTopic")) == (0, [])


def test_a_day_without_input_sends_a_notice_and_ends_well(stack: Stack):
    """Delivering its message again would change nothing; an alarm counts it instead."""
    (answer,) = stack.deliver(date(2026, 5, 1))
    assert answer["status"] == "SUCCEEDED"
    output = json.loads(answer["output"])
    assert (output["status"], output["as_of"]) == ("rejected", "2026-05-01")
    (notice,) = stack.notifications("OperationsTopic")
    assert notice["error"] == "InputRejected"
    assert "channel 'raw'" in notice["cause"]
    assert stack.engine.poll("DailyPipe") == []
    assert stack.count_messages("fraud-schedule-dead-letters") == 0
    alarm = stack.engine.recorded["RunRejectedAlarm"]
    datapoints = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=alarm["Namespace"], MetricName=alarm["MetricName"], Dimensions=alarm["Dimensions"],
        StartTime=datetime(2020, 1, 1, tzinfo=UTC), EndTime=datetime(2100, 1, 1, tzinfo=UTC),
        Period=86400, Statistics=[alarm["Statistic"]],
    )["Datapoints"]  # fmt: skip
    assert [point["Sum"] for point in datapoints] == [1.0]


@pytest.mark.parametrize("body", ["{}", "run!"])
def test_an_invalid_message_ends_in_the_dead_letter_queue(stack: Stack, body: str):
    """After three attempts, so that it delays no other message; an alarm counts it there."""
    boto3.client("sqs").send_message(QueueUrl=queue_url("fraud-daily"), MessageBody=body)
    for _ in range(3):
        (answer,) = stack.engine.poll("DailyPipe")
        assert answer["status"] == "FAILED"
    assert stack.engine.poll("DailyPipe") == []
    assert stack.count_messages("fraud-daily") == 0
    assert [message["Body"] for message in drain(queue_url("fraud-schedule-dead-letters"))] == [body]
