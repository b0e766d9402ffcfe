"""The three functions of the real-time path, one transaction at a time, equal the day's batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from fraudline.catalog.contract import contract
from fraudline.catalog.environment import CHAMPION, FUNCTION_THRESHOLD, HISTORY, TOPIC
from fraudline.catalog.features import NAMES
from fraudline.entrypoints import realtime
from fraudline.entrypoints.aws_lambda import RUNTIME_VARIABLE, InputRejected, StageFailed
from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests import batch, tables
from tests.running import run_stage, run_workflow

START, DAYS = date(2026, 1, 1), 85
pytestmark = pytest.mark.integration  # trains a model and runs a day first

DAY = START + timedelta(days=DAYS - 1)
NEXT = DAY + timedelta(days=1)
SETTINGS = {"rounds": 30, "samples": 20, "min_average_precision": 0, "min_card_precision": 0}
THRESHOLD = 0.01  # so low that a small model has some scores above it on a small day


def day_by_batch(root: Path) -> Path:
    """Train as of the last day, and run that day as a batch; return the root."""
    simulate(root / "data", start=START, days=DAYS, customers=300, merchants=150, seed=5)
    (root / "champion").mkdir()
    (root / "champion" / "current.json").write_text('{"champion": null}')
    run_workflow("training", DAY, root / "data", root, **SETTINGS)
    run_workflow("daily", NEXT, root / "data", root, threshold=THRESHOLD)
    return root


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return day_by_batch(tmp_path_factory.mktemp("line"))


@pytest.fixture
def queue(line: Path, aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set the functions' environment, and return the URL of a queue that receives the alerts."""
    realtime._load.cache_clear()
    boto3.client("s3").create_bucket(Bucket="results")
    s3.upload(line / "champion", "s3://results/champion/", str)
    table = tables.create("history")
    history = line / f"history/{contract()}/before={DAY}"
    run_stage("publish-history", {"history": history}, {}, as_of=DAY, table=table)
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    queue = boto3.client("sqs").create_queue(QueueName="alerts")["QueueUrl"]
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
    environment = {
        HISTORY.name: table,
        CHAMPION.name: "s3://results/champion/",
        TOPIC.name: topic,
        FUNCTION_THRESHOLD.name: str(THRESHOLD),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield queue
    boto3.client("dynamodb").delete_table(TableName="history")
    boto3.client("sqs").delete_queue(QueueUrl=queue)
    boto3.client("sns").delete_topic(TopicArn=topic)
    s3.prune(line / "nothing", "s3://results/champion/")
    boto3.client("s3").delete_bucket(Bucket="results")


def received_alerts(queue: str) -> list[dict[str, Any]]:
    sqs, alerts = boto3.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            alerts.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return alerts


def test_real_time_gives_the_batchs_features_scores_and_alerts(line: Path, queue: str):
    """An alert in real time is on the analyst's list the next morning, under the same id."""
    expected, events = batch.scores(line, DAY), batch.events(line, DAY)[:120]
    for event in events:
        served = realtime.features(event)
        scored = realtime.score({**event, **served})
        assert realtime.append(event) == {"appended": True}
        row = expected[event["transaction"]["transaction_id"]]
        features = np.array([served["features"]], np.float32)
        np.testing.assert_array_equal(features, np.array([[row[name] for name in NAMES]], np.float32))
        assert scored["fraud_score"] == row["fraud_score"]
        assert scored["risk_level"] == row["risk_level"]
        assert scored["alerted"] is (row["fraud_score"] > THRESHOLD)
    by_batch = batch.alerts(line, DAY, [event["transaction"]["transaction_id"] for event in events])
    assert by_batch
    assert {alert["deduplication_id"]: alert for alert in received_alerts(queue)} == by_batch


@pytest.mark.usefixtures("queue")
def test_a_repeated_event_changes_nothing(line: Path):
    """EventBridge delivers at least once."""
    event = batch.events(line, DAY)[0]
    first = realtime.features(event)
    assert [realtime.append(event)["appended"] for _ in range(2)] == [True, False]
    assert realtime.features(event) == first


@pytest.mark.usefixtures("queue")
def test_a_new_champion_scores_the_next_transaction(line: Path):
    event = batch.events(line, DAY)[0]
    served = realtime.features(event)
    assert realtime.score({**event, **served})["model_version"] == f"v{DAY}"
    pointer = {"champion": {"model_version": "v2030-01-01"}}
    boto3.client("s3").put_object(Bucket="results", Key="champion/current.json", Body=json.dumps(pointer))
    with pytest.raises((InputRejected, StageFailed)):
        realtime.score({**event, **served})


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": -1}, "the transaction is rejected: negative-amount"),
        ({"amount": "a lot", "merchant": ""}, "the transaction is rejected: no-merchant, no-amount"),
        ({"timestamp": "yesterday"}, "the transaction is rejected: no-timestamp"),
        ({"colour": "red"}, "the transaction has .*colour; expected transaction_id, customer_id"),
        ({"merchant": ["a"]}, "the transaction's merchant must be text or a number"),
        ({"timestamp": "2026-04-30T10:00:00Z"}, "too old for 2026-04-30; run publish-history"),
    ],
)
def test_the_batchs_rules_reject_a_transaction(line: Path, change: dict[str, Any], message: str):
    event = {"transaction": batch.events(line, DAY)[0]["transaction"] | change}
    with pytest.raises(InputRejected, match=message):
        realtime.features(event)


@pytest.mark.usefixtures("queue")
def test_features_of_another_contract_are_rejected(line: Path):
    event = batch.events(line, DAY)[0]
    with pytest.raises(InputRejected, match=r"the features are of contract abc, and model .* expects"):
        realtime.score({**event, "features": [0.0] * len(NAMES), "contract": "abc"})


def test_a_missing_variable_is_named(line: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(HISTORY.name, raising=False)
    monkeypatch.setenv("FRAUDLINE_LOG_VALUES", "true")
    with pytest.raises(StageFailed, match="environment variable FRAUDLINE_HISTORY is not set"):
        realtime.features(batch.events(line, DAY)[0])


# Runs a function as Lambda does, and prints its first answer and the modules that were loaded meanwhile.
FIRST_EVENT = """
import json, sys
from importlib import import_module
from awslambdaric import __main__ as runtime

def answer_first_event(arguments):
    module, name = arguments[1].rsplit(".", 1)
    handler = getattr(import_module(module), name)
    loaded = set(sys.modules)
    answer = handler(json.load(sys.stdin))
    print(json.dumps([answer, sorted(set(sys.modules) - loaded)]))

runtime.main = answer_first_event
from fraudline.cli import main
main(["lambda", sys.argv[1]])
"""


@pytest.mark.usefixtures("queue")
def test_the_first_event_waits_for_no_import(line: Path):
    """Lambda's init phase is for imports: in the first invocation they would count against its time-out."""
    event = batch.events(line, DAY)[0]
    event |= realtime.features(event)
    for name in realtime.FUNCTIONS:
        ended = subprocess.run(
            [sys.executable, "-c", FIRST_EVENT, name],
            input=json.dumps(event),
            env={**os.environ, RUNTIME_VARIABLE: "127.0.0.1:9"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        _, loaded = json.loads(ended.stdout)
        packages = {module.partition(".")[0] for module in loaded}
        assert packages.isdisjoint({"fraudline", "polars", "numpy", "xgboost", "scipy", "boto3", "botocore"}), loaded
