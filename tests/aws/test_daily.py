"""The daily path, executed: schedule, queue, pipe, EXPRESS machine, five functions of the real images."""

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
from tests.aws.engine import Engine, queue_of, received

pytestmark = [
    pytest.mark.docker,
    # That server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SETTINGS = {"rounds": 60, "samples": 50, "min_average_precision": 0.05, "min_card_precision": 0}
THRESHOLD = 0.3  # the model is a small one: some have to be above it


def fraudline(*arguments: object) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fraudline", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@dataclass(frozen=True)
class Line:
    """Deliveries, and what a laptop made of them: a training, and the day after it."""

    data: Path
    root: Path

    @property
    def alerts(self) -> list[dict[str, Any]]:
        file = self.root / f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
        return [json.loads(alert) for alert in file.read_text().splitlines()]

    @property
    def scores(self) -> pl.DataFrame:
        return pl.read_parquet(self.root / f"executions/daily-{SCORED}/Scores/scores/*.parquet")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    data, root = tmp_path_factory.mktemp("delivered"), tmp_path_factory.mktemp("laptop")
    simulate(data, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    places = ["--data", data, "--root", root]
    trained = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    fraudline("run", "training", "--as-of", TRAINED, *places, *trained)
    fraudline("run", "daily", "--as-of", SCORED, *places, "--set", f"threshold={THRESHOLD}")
    return Line(data, root)


@dataclass(frozen=True)
class Stack:
    """The stack, holding what was delivered and trained, and whoever listens to its topics."""

    engine: Engine
    outputs: dict[str, str]
    ears: dict[str, str]  # a queue that hears of a topic

    def deliver(self, as_of: date) -> list[dict[str, Any]]:
        """The schedule's message of a day, taken by the pipe."""
        self.engine.fire("DailySchedule", datetime(as_of.year, as_of.month, as_of.day, 6, tzinfo=UTC))
        return self.engine.poll("DailyPipe")

    def heard(self, topic: str) -> list[dict[str, Any]]:
        """What a topic said since it was asked last."""
        messages = received(self.ears[topic])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in messages]

    def executions(self, machine: str) -> list[dict[str, Any]]:
        return self.engine.executions(self.outputs["DailyMachine"].replace("daily", machine))

    def waiting(self, queue: str) -> int:
        counts = boto3.client("sqs").get_queue_attributes(QueueUrl=queue_of(queue), AttributeNames=["All"])
        attributes = counts["Attributes"]
        return sum(int(attributes[name]) for name in attributes if name.startswith("ApproximateNumberOfMessages"))


@pytest.fixture(scope="module")
def stack(line: Line, cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Stack:
    outputs = deployed(Threshold=THRESHOLD)
    for name in ("raw", "labeled"):
        s3.upload(line.data / name, f"{outputs['Data']}/{name}/", str)
    for name in ("champion", f"history/{contract()}/before={TRAINED}"):  # as on the morning of that day
        s3.upload(line.root / name, f"{outputs['Root']}/{name}/", str)
    ears = {}
    for topic in ("AlertsTopic", "OperationsTopic"):
        ears[topic] = boto3.client("sqs").create_queue(QueueName=f"hears-{topic}")["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:123456789012:hears-{topic}"
        boto3.client("sns").subscribe(TopicArn=outputs[topic], Protocol="sqs", Endpoint=arn)
    return Stack(cloud, outputs, ears)


@dataclass(frozen=True)
class Day:
    """What one morning of the stack brought."""

    answer: dict[str, Any]
    alerts: list[dict[str, Any]]
    operations: list[dict[str, Any]]


@pytest.fixture(scope="module")
def day(stack: Stack) -> Day:
    (answer,) = stack.deliver(SCORED)
    return Day(answer, stack.heard("AlertsTopic"), stack.heard("OperationsTopic"))


@pytest.fixture
def left(stack: Stack, day: Day, tmp_path: Path) -> Path:
    s3.fetch(f"{stack.outputs['Root']}/", tmp_path)
    return tmp_path


def test_a_morning_leaves_what_a_laptop_leaves_bit_for_bit(line: Line, stack: Stack, day: Day, left: Path):
    """Schedule, queue, pipe, machine and functions carry the day; none of them is part of its result."""
    assert (day.answer["status"], day.operations) == ("SUCCEEDED", [])
    here = [path.relative_to(line.root) for path in sorted(line.root.rglob("*.parquet"))]
    tables = [path for path in here if path.parts[0] != "executions" or path.parts[1] == f"daily-{SCORED}"]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(line.root / path), pl.read_parquet(left / path))
    scores = f"executions/daily-{SCORED}/Scores/scores"
    for path in [path.relative_to(line.root) for path in (line.root / scores).glob("*.parquet")]:
        assert (line.root / path).read_bytes() == (left / path).read_bytes()
    alerts = f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
    assert (line.root / alerts).read_bytes() == (left / alerts).read_bytes()
    assert (left / f"reports/date={TRAINED}/fraud-daily-{TRAINED}.pdf").read_bytes().startswith(b"%PDF")
    assert stack.waiting("fraud-daily") == 0


@pytest.mark.usefixtures("day")
def test_every_score_is_in_the_table(line: Line, stack: Stack):
    expected = {row["transaction_id"]: row for row in line.scores.iter_rows(named=True)}
    stored = {item["key"]["S"]: item for item in dynamodb.get(stack.outputs["ScoresTable"], expected)}
    assert stored.keys() == expected.keys()
    for key, item in stored.items():
        assert float(item["fraud_score"]["N"]) == expected[key]["fraud_score"]
        assert ("flagged_day" in item) is (expected[key]["risk_level"] != "LOW")


def test_every_alert_is_sent_once(line: Line, day: Day):
    urgent = [message for message in day.alerts if "alerts" not in message]
    digested = [alert for message in day.alerts for alert in message.get("alerts", [])]
    assert urgent == [alert for alert in line.alerts if alert["alert_priority"] == URGENT]
    assert digested == [alert for alert in line.alerts if alert["alert_priority"] != URGENT]
    assert urgent
    assert digested


@pytest.mark.usefixtures("day")
def test_a_case_is_opened_for_each_customer_with_alerts(line: Line, stack: Stack):
    cases = stack.executions("investigation")
    assert {case["name"][:10] for case in cases} == {str(TRAINED)}
    assert {case["status"] for case in cases} == {"RUNNING"}
    described = [boto3.client("stepfunctions").describe_execution(executionArn=it["executionArn"]) for it in cases]
    told = [alert["transaction_id"] for case in described for alert in json.loads(case["input"])["alerts"]]
    assert sorted(told) == sorted(alert["transaction_id"] for alert in line.alerts)


@pytest.mark.usefixtures("day")
def test_the_real_time_path_has_the_history_before_the_next_day(stack: Stack):
    ended = [stack.engine.ended(each["executionArn"]) for each in stack.executions("publish-history")]
    assert [execution["status"] for execution in ended] == ["SUCCEEDED"] * 2  # as it was delivered, and the day's
    HistoryTable(f"dynamodb://{stack.outputs['HistoryTable']}").check(SCORED, 7)


@pytest.mark.usefixtures("day")
def test_a_message_that_is_delivered_twice_is_told_once(stack: Stack, left: Path, tmp_path_factory: Any):
    before = stack.executions("investigation")
    (again,) = stack.deliver(SCORED)
    assert again["status"] == "SUCCEEDED"
    assert (stack.heard("AlertsTopic"), stack.heard("OperationsTopic")) == ([], [])
    assert stack.executions("investigation") == before
    after = tmp_path_factory.mktemp("after")
    s3.fetch(f"{stack.outputs['Root']}/scores/", after)
    for path in after.rglob("*.parquet"):
        assert path.read_bytes() == (left / "scores" / path.relative_to(after)).read_bytes()


@pytest.fixture
def claimed(stack: Stack, day: Day) -> Iterator[dict[str, Any]]:
    """Another runner, which has claimed the day; the item by which it did."""
    until = str(int(time.time()) + 900)
    item = {"key": {"S": f"claim/{TRAINED}"}, "claimed_by": {"S": "another"}, "claimed_until": {"N": until}}
    boto3.client("dynamodb").put_item(TableName=stack.outputs["ScoresTable"], Item=item)
    yield item
    give_back(stack, item)


def give_back(stack: Stack, item: dict[str, Any]) -> None:
    boto3.client("dynamodb").delete_item(TableName=stack.outputs["ScoresTable"], Key={"key": item["key"]})


def test_a_function_that_fails_once_is_tried_again(
    stack: Stack, claimed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Only that stage, and only what may be gone by then: here another runner at work on the day."""
    answers: list[tuple[str, str]] = []

    def answered(function: str, answer: Any) -> None:
        answers.append((function, answer.get("errorType", "")))
        if "errorType" in answer:
            give_back(stack, claimed)

    monkeypatch.setattr(stack.engine.functions, "answered", answered)
    stack.engine.waits.clear()
    (answer,) = stack.deliver(SCORED)
    assert answer["status"] == "SUCCEEDED"
    tried = [("fraud-alert-and-store", "StageFailed"), ("fraud-alert-and-store", "")]
    assert answers[4:] == tried
    (waited,) = stack.engine.waits
    assert 0 <= waited <= 5  # somewhere in its first interval
    assert [error for _, error in answers[:4]] == [""] * 4
    assert (stack.heard("AlertsTopic"), stack.heard("OperationsTopic")) == ([], [])


def test_a_day_that_failed_is_told_of_and_delivered_again(stack: Stack, claimed: dict[str, Any]):
    (failed,) = stack.deliver(SCORED)
    assert (failed["status"], failed["error"]) == ("FAILED", "StageFailed")
    (notice,) = stack.heard("OperationsTopic")
    assert (notice["workflow"], notice["as_of"], notice["error"]) == ("daily", str(SCORED), "StageFailed")
    assert f"another runner has claimed {TRAINED}" in notice["cause"]
    assert stack.waiting("fraud-daily") == 1
    give_back(stack, claimed)
    (again,) = stack.engine.poll("DailyPipe")
    assert again["status"] == "SUCCEEDED"
    assert (stack.waiting("fraud-daily"), stack.heard("AlertsTopic")) == (0, [])


def test_a_day_without_input_ends_well_after_the_notice(stack: Stack):
    """To deliver its message again would be in vain; an alarm counts it instead."""
    (answer,) = stack.deliver(date(2026, 5, 1))
    assert answer["status"] == "SUCCEEDED"
    output = json.loads(answer["output"])
    assert (output["status"], output["as_of"]) == ("rejected", "2026-05-01")
    (notice,) = stack.heard("OperationsTopic")
    assert notice["error"] == "InputRejected"
    assert "channel 'raw'" in notice["cause"]
    assert stack.engine.poll("DailyPipe") == []
    assert stack.waiting("fraud-schedule-dead-letters") == 0
    alarm = stack.engine.kept["RunRejectedAlarm"]
    counted = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=alarm["Namespace"], MetricName=alarm["MetricName"], Dimensions=alarm["Dimensions"],
        StartTime=datetime(2020, 1, 1, tzinfo=UTC), EndTime=datetime(2100, 1, 1, tzinfo=UTC),
        Period=86400, Statistics=[alarm["Statistic"]],
    )["Datapoints"]  # fmt: skip
    assert [point["Sum"] for point in counted] == [1.0]


@pytest.mark.parametrize("body", ["{}", "run!"])
def test_a_message_that_no_run_can_mend_is_set_aside(stack: Stack, body: str):
    """After three attempts it waits among the dead letters, where an alarm counts it, and holds no other up."""
    boto3.client("sqs").send_message(QueueUrl=queue_of("fraud-daily"), MessageBody=body)
    answers = [stack.engine.poll("DailyPipe") for _ in range(4)]
    assert [[answer["status"] for answer in each] for each in answers] == [["FAILED"]] * 3 + [[]]
    assert stack.waiting("fraud-daily") == 0
    assert [message["Body"] for message in received(queue_of("fraud-schedule-dead-letters"))] == [body]
