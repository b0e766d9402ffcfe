"""The real-time path, executed: event, rule, machine, three functions of the real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from fraudline.catalog.contract import contract
from fraudline.catalog.features import NAMES
from fraudline.runtime import s3
from tests import batch
from tests.aws.engine import Engine, queue_of, received
from tests.entrypoints.test_realtime import DAY, THRESHOLD, day_by_batch, received_alerts

pytestmark = [
    pytest.mark.docker,
    # That server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

EVENTS = 60


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return day_by_batch(tmp_path_factory.mktemp("line"))


@dataclass
class Bank:
    """Sends transactions to the stack one after another."""

    engine: Engine
    outputs: dict[str, str]
    alerts: str  # a queue that hears of them
    served: list[Any] = field(default_factory=list)  # what the function of the features answered

    @property
    def machine(self) -> str:
        return self.outputs["DailyMachine"].replace("daily", "realtime")

    def send(self, transaction: dict[str, Any], source: str = "bank.transactions") -> list[dict[str, Any]]:
        """The executions that one event started, once they are over."""
        before = {execution["executionArn"] for execution in self.engine.executions(self.machine)}
        entry = {"Source": source, "DetailType": "Transaction", "Detail": json.dumps(transaction)}
        assert boto3.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
        started = [it["executionArn"] for it in self.engine.executions(self.machine)]
        return [self.engine.ended(execution) for execution in started if execution not in before]


@pytest.fixture(scope="module")
def bank(line: Path, cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Bank:
    outputs = deployed(Threshold=THRESHOLD)
    for name in ("champion", f"history/{contract()}/before={DAY}"):
        s3.upload(line / name, f"{outputs['Root']}/{name}/", str)
    queue = boto3.client("sqs").create_queue(QueueName="hears-alerts")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:123456789012:hears-alerts"
    boto3.client("sns").subscribe(TopicArn=outputs["AlertsTopic"], Protocol="sqs", Endpoint=arn)
    (loaded,) = cloud.executions(outputs["DailyMachine"].replace("daily", "publish-history"))
    assert cloud.ended(loaded["executionArn"])["status"] == "SUCCEEDED"
    bank = Bank(cloud, outputs, queue)

    def answered(function: str, answer: Any) -> None:
        if function == "fraud-realtime-features":
            bank.served.append(answer)

    cloud.functions.answered = answered
    return bank


def test_each_event_gets_the_batchs_features_score_and_alert(line: Path, bank: Bank):
    """The history came by the event of its upload; the transactions come in order, each seen by those after it."""
    expected = batch.scored(line, DAY)
    sent = [event["transaction"] for event in batch.events(line, DAY)[:EVENTS]]
    for transaction in sent:
        (execution,) = bank.send(transaction)
        assert execution["status"] == "SUCCEEDED", execution
        row, output = expected[transaction["transaction_id"]], json.loads(execution["output"])
        assert (output["fraud_score"], output["risk_level"]) == (row["fraud_score"], row["risk_level"])
        assert output["alerted"] is (row["fraud_score"] > THRESHOLD)
        served = np.array(bank.served.pop()["features"], np.float32)
        np.testing.assert_array_equal(served, np.array([row[name] for name in NAMES], np.float32))
    by_batch = batch.alerts(line, DAY, [transaction["transaction_id"] for transaction in sent])
    assert by_batch
    assert {alert["deduplication_id"]: alert for alert in received_alerts(bank.alerts)} == by_batch


def test_an_event_that_comes_again_is_scored_as_before_and_not_counted_again(line: Path, bank: Bank):
    """EventBridge delivers at least once."""
    transaction = batch.events(line, DAY)[EVENTS + 1]["transaction"]
    (first,), (again,) = bank.send(transaction), bank.send(transaction)
    assert first["output"] == again["output"]
    assert bank.served.pop() == bank.served.pop()


def test_what_no_batch_would_take_is_kept_with_its_reason(line: Path, bank: Bank):
    transaction = batch.events(line, DAY)[EVENTS + 2]["transaction"] | {"amount": -1}
    (execution,) = bank.send(transaction)
    assert (execution["status"], execution["error"]) == ("FAILED", "InputRejected")
    (kept,) = received(queue_of("fraud-realtime-dead-letters"))
    content = json.loads(kept["Body"])
    assert content["event"] == transaction
    assert "the transaction is rejected: negative-amount" in content["error"]["Cause"]


def test_another_sources_events_start_nothing(line: Path, bank: Bank):
    assert bank.send(batch.events(line, DAY)[0]["transaction"], source="somebody.else") == []
