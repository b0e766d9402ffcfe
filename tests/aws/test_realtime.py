"""The real-time path, executed: event, rule, state machine, three functions of the real images."""

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
from tests.aws.engine import Engine, drain, drain_notifications, queue_url, subscribe
from tests.entrypoints.test_realtime import DAY, THRESHOLD, day_by_batch

pytestmark = [
    pytest.mark.docker,
    # moto's server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

EVENTS = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return day_by_batch(tmp_path_factory.mktemp("root"))


@dataclass
class Bank:
    """A bank that sends transactions to the stack one after another.

    Attributes:
        engine: the AWS in which the stack runs.
        outputs: the stack's outputs.
        alerts: URL of the queue that receives the alerts.
        served: answers of the function realtime-features, in order.
    """

    engine: Engine
    outputs: dict[str, str]
    alerts: str
    served: list[Any] = field(default_factory=list)

    @property
    def state_machine(self) -> str:
        """Return the ARN of the state machine that events start."""
        return self.outputs["DailyMachine"].replace("daily", "realtime")

    def send(self, transaction: dict[str, Any], source: str = "bank.transactions") -> list[dict[str, Any]]:
        """Send one event, and return the ended executions that it started."""
        earlier = {execution["executionArn"] for execution in self.engine.executions(self.state_machine)}
        entry = {"Source": source, "DetailType": "Transaction", "Detail": json.dumps(transaction)}
        assert boto3.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
        executions = [execution["executionArn"] for execution in self.engine.executions(self.state_machine)]
        return [self.engine.wait_for(execution) for execution in executions if execution not in earlier]


@pytest.fixture(scope="module")
def bank(root: Path, cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Bank:
    outputs = deployed(Threshold=THRESHOLD)
    for name in ("champion", f"history/{contract()}/before={DAY}"):
        s3.upload(root / name, f"{outputs['Root']}/{name}/", str)
    (published,) = cloud.executions(outputs["DailyMachine"].replace("daily", "publish-history"))
    assert cloud.wait_for(published["executionArn"])["status"] == "SUCCEEDED"
    bank = Bank(cloud, outputs, subscribe(outputs["AlertsTopic"], "alerts"))

    def on_answer(function: str, answer: Any) -> None:
        if function == "fraud-realtime-features":
            bank.served.append(answer)

    cloud.functions.on_answer = on_answer
    return bank


def test_each_event_gets_the_batchs_features_score_and_alert(root: Path, bank: Bank):
    """The upload of a history published it; later transactions see earlier ones."""
    expected = batch.scores(root, DAY)
    transactions = [event["transaction"] for event in batch.events(root, DAY)[:EVENTS]]
    for transaction in transactions:
        (execution,) = bank.send(transaction)
        assert execution["status"] == "SUCCEEDED", execution
        row, output = expected[transaction["transaction_id"]], json.loads(execution["output"])
        assert (output["fraud_score"], output["risk_level"]) == (row["fraud_score"], row["risk_level"])
        assert output["alerted"] is (row["fraud_score"] > THRESHOLD)
        served = np.array(bank.served.pop()["features"], np.float32)
        np.testing.assert_array_equal(served, np.array([row[name] for name in NAMES], np.float32))
    by_batch = batch.alerts(root, DAY, [transaction["transaction_id"] for transaction in transactions])
    assert by_batch
    assert {alert["deduplication_id"]: alert for alert in drain_notifications(bank.alerts)} == by_batch


def test_a_repeated_event_gets_the_same_score_and_features(root: Path, bank: Bank):
    """EventBridge delivers at least once; the history counts a transaction once."""
    transaction = batch.events(root, DAY)[EVENTS + 1]["transaction"]
    (first,), (second,) = bank.send(transaction), bank.send(transaction)
    assert first["output"] == second["output"]
    assert bank.served.pop() == bank.served.pop()


def test_a_rejected_transaction_is_kept_with_its_reason(root: Path, bank: Bank):
    transaction = batch.events(root, DAY)[EVENTS + 2]["transaction"] | {"amount": -1}
    (execution,) = bank.send(transaction)
    assert (execution["status"], execution["error"]) == ("FAILED", "InputRejected")
    (message,) = drain(queue_url("fraud-realtime-dead-letters"))
    content = json.loads(message["Body"])
    assert content["event"] == transaction
    assert "the transaction is rejected: negative-amount" in content["error"]["Cause"]


def test_events_of_another_source_start_nothing(root: Path, bank: Bank):
    assert bank.send(batch.events(root, DAY)[0]["transaction"], source="somebody.else") == []
