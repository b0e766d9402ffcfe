"""Delivery of a day against moto over HTTP: scores in a table, alerts on a topic, and cases, each once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.schema import FEATURE_KEYS, HIGH_RISK, LABELS, SCORES, TRANSACTIONS
from fraudline.catalog.stage import WATCHED
from fraudline.model.histograms import histogram
from fraudline.runtime import dynamodb, faults
from fraudline.score import alert_and_store, outbox
from fraudline.score.alerts import alerts_of, cases_of, messages_of
from fraudline.score.score_table import CLAIM_MINUTES
from tests import tables
from tests.killing import Killed, killed_after
from tests.running import run_stage

DAY, NOW = date(2026, 1, 31), datetime(2026, 2, 1, 6, tzinfo=UTC)
LATER = NOW + timedelta(minutes=CLAIM_MINUTES)
SCORED = [0.99, 0.95, 0.93, 0.9, 0.85, 0.7, 0.6, 0.3, 0.2, 0.01]
URGENT = {"tx-0", "tx-2"}


def ids(count: int) -> list[str]:
    return [f"tx-{number}" for number in range(count)]


def reasons(score: float) -> list[dict[str, Any]] | None:
    return [{"feature": "amount", "value": None, "contribution": 1.5}] if score > 0.5 else None


def scores(values: list[float] = SCORED) -> pl.DataFrame:
    rows = [
        {
            "transaction_id": id_,
            "margin": float(np.log(score / (1 - score))),
            "fraud_score": score,
            "confidence": max(score, 1 - score),
            "risk_level": "HIGH" if score > 0.8 else "MEDIUM" if score > 0.5 else "LOW",
            "reasons": reasons(score),
            "model_version": "v2026-01-04",
        }
        for id_, score in zip(ids(len(values)), values, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(SCORES))


def customer(number: int) -> str:
    return f"customer-{number % 4:04d}"


def high_risk(count: int = 5, customers: Callable[[int], str] = customer) -> pl.DataFrame:
    rows = [
        {
            "transaction_id": id_,
            "customer_id": customers(number),
            "merchant": "Kiosk",
            "cents": 12_345,
            "timestamp": datetime(2026, 1, 31, 5, 9, tzinfo=UTC),
            "fraud_score": 0.9,
            "expected_loss": 111.11,
            "alert_priority": "URGENT" if id_ in URGENT else "NORMAL",
            "reasons": reasons(0.9),
            "model_version": "v2026-01-04",
        }
        for number, id_ in enumerate(ids(count))
    ]
    return pl.DataFrame(rows, schema=dict(HIGH_RISK))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A day of ten transactions, and the same scores, all labeled, on each of the ten days before."""
    root, count = tmp_path_factory.mktemp("day"), len(SCORED)
    timestamp = datetime(2026, 1, 31, 5, 9, tzinfo=UTC)
    keys = {
        "transaction_id": ids(count),
        "customer_id": [customer(number) for number in range(count)],
        "timestamp": [timestamp] * count,
    }
    nulls = dict.fromkeys(("merchant_category", "latitude", "longitude", "customer_latitude", "customer_longitude"))
    transactions = pl.DataFrame(
        {**keys, "merchant": "Kiosk", "cents": 5_000, **nulls}, schema_overrides=dict(TRANSACTIONS)
    )
    values = np.linspace(0, 100, count, dtype=np.float32)
    channels = {
        "scores": scores(),
        "high_risk": high_risk(),
        "transactions": transactions.select(pl.col(name).cast(dtype) for name, dtype in TRANSACTIONS.items()),
        "features": pl.DataFrame({**keys, "amount": values}).cast({**FEATURE_KEYS, "amount": pl.Float32}),
    }
    labels = []
    for back in range(1, 11):
        past = DAY - timedelta(days=back)
        channels[f"past/date={past}"] = past_scores(past)
        labels.append(past_labels(past))
    channels["labels"] = pl.concat(labels)
    for name, table in channels.items():
        (root / name).mkdir(parents=True)
        table.write_parquet(root / name / "part-0.parquet")
    (root / "reference").mkdir()
    amounts = histogram(values, np.zeros(count, np.int64), np.ones(count, np.float32))
    (root / "reference/manifest.json").write_text(json.dumps({"histograms": {"amount": amounts}}))
    names = ("scores", "high_risk", "transactions", "features", "labels", "past", "reference")
    return {name: root / name for name in names}


def past_scores(day: date) -> pl.DataFrame:
    return scores().with_columns(pl.col("transaction_id") + f"-{day}")


def past_labels(day: date) -> pl.DataFrame:
    """Of the five alerts tx-1 was no fraud; of the rest tx-7 was one."""
    labels = {
        "transaction_id": past_scores(day).get_column("transaction_id"),
        "is_fraud": [int(number in {0, 2, 3, 4, 7}) for number in range(len(SCORED))],
        "merchant": "Kiosk",
        "merchant_category": None,
        "day": 0,
        "known_day": 0,
    }
    return pl.DataFrame(labels).select(*LABELS).cast(dict(LABELS))


@dataclass(frozen=True)
class Services:
    """A table, a topic with a queue that receives from it, and a state machine, all for one test."""

    table: str
    topic: str
    queue: str
    state_machine: str

    def receivers(self) -> dict[str, str]:
        """Return the stage's parameters that name the services."""
        return {"table": f"dynamodb://{self.table}", "topic": self.topic, "investigation": self.state_machine}

    def items(self) -> dict[str, dict[str, Any]]:
        pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=self.table)
        return {item["key"]["S"]: item for page in pages for item in page["Items"]}

    def received(self) -> list[dict[str, Any]]:
        """Return the messages that have come to the queue since the last call."""
        sqs = boto3.client("sqs")
        request = {"QueueUrl": self.queue, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
        messages: list[dict[str, Any]] = []
        while batch := sqs.receive_message(**request).get("Messages"):
            for message in batch:
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            messages += batch
        return messages

    def cases(self) -> set[str]:
        executions = boto3.client("stepfunctions").list_executions(stateMachineArn=self.state_machine)["executions"]
        return {execution["name"] for execution in executions}


def create_services(name: str, *, fifo: bool = False) -> Services:
    tables.create(name)
    topic, queue = create_topic_with_queue(name, fifo=fifo)
    definition = {"StartAt": "Open", "States": {"Open": {"Type": "Pass", "End": True}}}
    state_machine = boto3.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/investigation"
    )
    return Services(name, topic, queue, state_machine["stateMachineArn"])


def create_topic_with_queue(name: str, *, fifo: bool) -> tuple[str, str]:
    """Return the ARN of the topic and the URL of the queue that subscribes to it."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    full_name = f"{name}.fifo" if fifo else name
    topic = sns.create_topic(Name=full_name, Attributes={"FifoTopic": "true"} if fifo else {})["TopicArn"]
    queue = sqs.create_queue(QueueName=full_name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    raw = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"], Attributes=raw)
    return topic, queue


@pytest.fixture
def services(aws: None, request: pytest.FixtureRequest) -> Services:
    return create_services(f"scores-{abs(hash(request.node.name))}")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the drawing, which takes longer than all the rest and is tested elsewhere."""
    monkeypatch.setattr(alert_and_store, "render", lambda _report: b"%PDF")


def run(
    inputs: dict[str, Path], root: Path, services: Services | None, now: datetime = NOW, **texts: Any
) -> dict[str, Any]:
    """Run the stage with all three services or none; ``texts`` are further parameters."""
    outputs = {name: root / name for name in ("results", "archive", "report", "summary")}
    receivers = services.receivers() if services else {}
    as_of = DAY + timedelta(days=1)
    return run_stage("alert-and-store", inputs, outputs, as_of=as_of, now=now, **receivers | texts)


def deduplicated(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a receiver that drops repeats gets: bodies by deduplication id."""
    return {
        message["MessageAttributes"]["deduplication_id"]["StringValue"]: json.loads(message["Body"])
        for message in messages
    }


def alerts_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message.get("alerts", [message])


def test_every_score_is_stored_and_expires_after_retention(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    """Retention starts at the day, not at the clock: a rerun a week later must not keep it a week longer."""
    run(inputs, tmp_path, services, retention_days=400)
    stored = {key: item for key, item in services.items().items() if key.startswith("tx-")}
    assert set(stored) == set(ids(len(SCORED)))
    end = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(days=400)
    assert {item["expires_at"]["N"] for item in stored.values()} == {str(int(end.timestamp()))}
    assert [float(stored[id_]["fraud_score"]["N"]) for id_ in ids(len(SCORED))] == SCORED
    assert stored["tx-0"]["reasons"]["L"][0]["M"]["feature"] == {"S": "amount"}


def test_only_scores_above_low_are_in_the_index_of_the_day(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    """An index on the day of every score would send all writes to one partition."""
    run(inputs, tmp_path, services)
    flagged = {key for key, item in services.items().items() if "flagged_day" in item}
    assert flagged == {id_ for id_, score in zip(ids(len(SCORED)), SCORED, strict=True) if score > 0.5}


def test_urgent_alerts_come_one_by_one_the_rest_in_a_digest(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    summary = run(inputs, tmp_path, services)
    messages = services.received()
    by_priority = {"URGENT": [], "NORMAL": []}
    for message in messages:
        attributes = message["MessageAttributes"]
        assert attributes["day"]["StringValue"] == str(DAY)
        by_priority[attributes["alert_priority"]["StringValue"]].append(json.loads(message["Body"]))
    assert {alert["transaction_id"] for alert in by_priority["URGENT"]} == URGENT
    (digest,) = by_priority["NORMAL"]
    assert {alert["transaction_id"] for alert in digest["alerts"]} == {"tx-1", "tx-3", "tx-4"}
    assert (summary["alerts_sent"], summary["messages"]) == (5, 3)


def test_alerts_and_cases_hide_customer_identifiers():
    alerts = list(alerts_of(high_risk(), DAY))
    texts = [message.body + message.subject for message in messages_of(alerts, DAY)]
    texts += [case.body + case.name for case in cases_of(high_risk(), DAY)]
    assert not any(customer(number) in text for number in range(4) for text in texts)


def test_digests_fit_into_messages_and_lose_no_alert():
    """SNS rejects messages above 256 KiB, with all alerts in them."""
    table = high_risk(2_000, lambda number: f"customer-{'x' * 50}{number}")
    messages = list(messages_of(list(alerts_of(table, DAY)), DAY))
    digests = [message for message in messages if message.priority == "NORMAL"]
    assert len(digests) > 1
    assert max(len(message.body.encode()) for message in messages) <= 256 * 1024 - 1024
    bodies = [json.loads(message.body) for message in messages]
    sent = [alert["transaction_id"] for body in bodies for alert in alerts_in(body)]
    assert sorted(sent) == sorted(ids(2_000))
    assert [message.alert_count for message in messages] == [len(alerts_in(body)) for body in bodies]
    assert len({message.id for message in messages}) == len(messages)


def test_a_case_is_a_customers_day_under_a_valid_name(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    run(inputs, tmp_path, services)
    cases = list(cases_of(high_risk(), DAY))
    assert len(cases) == 4  # five alerts, two of them of one customer
    assert services.cases() == {case.name for case in cases}
    assert all(len(case.name) <= 80 and case.name.replace("-", "").isalnum() for case in cases)
    first = json.loads(cases[0].body)
    assert [alert["transaction_id"] for alert in first["alerts"]] == ["tx-0", "tx-4"]
    assert (first["alert_priority"], first["alert_count"], first["expected_loss"]) == ("URGENT", 2, 222.22)


def test_summary_says_null_where_nobody_receives(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    """What was written to files is no delivery: an alert in alerts.jsonl has reached nobody yet."""
    counts = ("alerts", "archived", "record_count", "records_stored", "alerts_sent", "messages", "cases")
    expected = {
        (): [5, 10, 10, None, None, None, None],
        ("table",): [5, 10, 10, 10, None, None, None],
        ("table", "topic"): [5, 10, 10, 10, 5, 3, None],
        ("table", "investigation"): [5, 10, 10, 10, None, None, 4],
    }
    receivers = services.receivers()
    for names, values in expected.items():
        summary = run(inputs, tmp_path, None, **{name: receivers[name] for name in names})
        assert [summary[count] for count in counts] == values


def test_rerun_of_a_finished_day_sends_nothing(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    first = run(inputs, tmp_path, services)
    items, cases = services.items(), services.cases()
    assert len(services.received()) == 3
    second = run(inputs, tmp_path, services, now=NOW + timedelta(seconds=1))
    assert services.received() == []
    assert (services.items(), services.cases()) == (items, cases)
    assert second == first


@pytest.mark.integration
def test_rerun_after_a_kill_ends_equal_and_sends_each_alert_once(
    inputs: dict[str, Path], aws: None, tmp_path: Path, no_report: None
):
    """A job that is killed between two AWS calls has done what it did, and still holds its claim."""
    whole = create_services("whole")
    summary = run(inputs, tmp_path / "whole", whole)
    items, messages = whole.items(), deduplicated(whole.received())
    for calls in range(100):
        services, root = create_services(f"killed-{calls}"), tmp_path / str(calls)
        try:
            with killed_after(calls) as operations:
                run(inputs, root, services)
            break
        except Killed:
            pass
        if "PutItem" in operations:  # it claimed the day, and nobody knows yet that it is dead
            with pytest.raises(TemporaryError, match="another runner has claimed 2026-01-31"):
                run(inputs, root, services, now=LATER - timedelta(seconds=1))
        rerun = run(inputs, root, services, now=LATER)
        received = services.received()
        assert deduplicated(received) == messages
        assert len(received) <= len(messages) + 1  # the one that was sent and not marked
        assert services.items() == items
        assert services.cases() == whole.cases()
        assert {**rerun, "report_s3_path": ""} == {**summary, "report_s3_path": ""}
    assert {"PutItem", "BatchWriteItem", "Publish", "StartExecution", "DeleteItem"} <= set(operations)


def test_two_runners_of_one_day_exclude_each_other(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None, monkeypatch: pytest.MonkeyPatch
):
    """A schedule's message that is delivered twice starts two runners under the same name."""
    original = outbox.publish

    def publish_during_a_second_run(*arguments: Any) -> None:
        monkeypatch.setattr(outbox, "publish", original)
        with pytest.raises(TemporaryError, match="another runner has claimed"):
            run(inputs, tmp_path / "second", services, now=NOW + timedelta(minutes=1))
        original(*arguments)

    monkeypatch.setattr(outbox, "publish", publish_during_a_second_run)
    run(inputs, tmp_path / "first", services)
    assert len(services.received()) == 3
    assert "claim/2026-01-31" not in services.items()


def test_slow_runner_keeps_the_claim_of_the_next_runner(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None, monkeypatch: pytest.MonkeyPatch
):
    claims: list[dict[str, Any]] = []
    original = outbox.publish

    def publish_and_lose_the_claim(*arguments: Any) -> None:
        original(*arguments)
        claim = services.items()["claim/2026-01-31"] | {"claimed_by": {"S": "the next"}}
        dynamodb.put(services.table, [claim])
        claims.append(claim)

    monkeypatch.setattr(outbox, "publish", publish_and_lose_the_claim)
    run(inputs, tmp_path, services)
    assert services.items()["claim/2026-01-31"] == claims[0]


def test_failed_stage_releases_its_claim(inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None):
    """The next attempt must not wait for the claim of a stage that has ended."""
    missing = services.topic + "-missing"
    with pytest.raises(Exception, match="NotFound") as failed:
        run(inputs, tmp_path, services, topic=missing)
    explanation = faults.explain(failed.value, {})
    assert isinstance(explanation, InputError)
    assert "AWS answered Publish with NotFound; check the topic's ARN" in str(explanation)
    run(inputs, tmp_path, services)
    assert len(services.received()) == 3


def test_day_archived_with_other_scores_fails_before_sending(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    run(inputs, tmp_path, services, topic="", investigation="")
    other = tmp_path / "other"
    other.mkdir()
    scores([0.98, *SCORED[1:]]).write_parquet(other / "part-0.parquet")
    with pytest.raises(InputError, match="channel 'archive'"):
        run({**inputs, "scores": other}, tmp_path, services)
    assert services.received() == []
    run({**inputs, "scores": other}, tmp_path, services, replace="true")
    assert len(services.received()) == 3


def test_fifo_topic_accepts_the_ids_and_drops_repeats(
    inputs: dict[str, Path], aws: None, tmp_path: Path, no_report: None
):
    services = create_services("in-order", fifo=True)
    run(inputs, tmp_path, services)
    for key in [key for key in services.items() if key.startswith("sent/")]:
        boto3.client("dynamodb").delete_item(TableName=services.table, Key={"key": {"S": key}})
    run(inputs, tmp_path, services)
    assert len(services.received()) == 3


def test_sending_needs_a_table_that_records_it(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    with pytest.raises(InputError, match="--table is missing"):
        run(inputs, tmp_path, None, topic=services.topic)


def test_live_metrics_match_the_labels_of_mature_days(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    """Computed by hand: four of five alerts are fraud, and a fifth fraud ranks eighth of ten."""
    watched = run(inputs, tmp_path, services)[WATCHED]
    assert (watched["scored"], watched["alert_rate"]) == (10, 0.5)
    assert watched["accuracy"] == pytest.approx(0.8)
    assert watched["precision"] == pytest.approx(4 / 5)
    assert watched["recall"] == pytest.approx(4 / 5)
    assert watched["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 5 + 5 / 8) / 5)
    assert watched["drift"] == 0


def test_days_with_immature_labels_do_not_count(
    inputs: dict[str, Path], services: Services, tmp_path: Path, no_report: None
):
    """Frauds are labeled first, so on a fresh day every label says fraud."""
    labels = pl.read_parquet(inputs["labels"])
    early = pl.col("transaction_id").str.ends_with(f"-{DAY - timedelta(days=6)}")
    (tmp_path / "labels").mkdir()
    labels.filter(~early | (pl.col("is_fraud") == 1)).write_parquet(tmp_path / "labels/part-0.parquet")
    watched = run({**inputs, "labels": tmp_path / "labels"}, tmp_path, services)[WATCHED]
    assert watched["precision"] == pytest.approx(4 / 5)
    fresh = run({**inputs, "labels": tmp_path / "labels"}, tmp_path, services, label_delay_days=4)[WATCHED]
    assert fresh["precision"] == pytest.approx((6 * 4 + 4) / (6 * 5 + 4))
    none = run(inputs, tmp_path, services, label_delay_days=30)[WATCHED]
    assert none["accuracy"] is None
