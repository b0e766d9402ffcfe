"""What others see of a day, over HTTP against moto: scores in a table, alerts on a topic, cases; all of it once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
    """A day of ten transactions, and the same scores on each of the ten days before, of which all labels are known."""
    root, count = tmp_path_factory.mktemp("day"), len(SCORED)
    at = datetime(2026, 1, 31, 5, 9, tzinfo=UTC)
    keys = {"transaction_id": ids(count), "customer_id": list(map(customer, range(count))), "timestamp": [at] * count}
    nothing = dict.fromkeys(("merchant_category", "latitude", "longitude", "customer_latitude", "customer_longitude"))
    transactions = pl.DataFrame(
        {**keys, "merchant": "Kiosk", "cents": 5_000, **nothing}, schema_overrides=dict(TRANSACTIONS)
    )
    values = np.linspace(0, 100, count, dtype=np.float32)
    tables = {
        "scores": scores(),
        "high_risk": high_risk(),
        "transactions": transactions.select(pl.col(name).cast(dtype) for name, dtype in TRANSACTIONS.items()),
        "features": pl.DataFrame({**keys, "amount": values}).cast({**FEATURE_KEYS, "amount": pl.Float32}),
    }
    labels = []
    for back in range(1, 11):
        past = DAY - timedelta(days=back)
        tables[f"past/date={past}"] = scores().with_columns(pl.col("transaction_id") + f"-{past}")
        # Of tx-1 a fraud was denied, and one of tx-7 was missed.
        frauds = [int(number in (0, 2, 3, 4, 7)) for number in range(count)]
        named = tables[f"past/date={past}"].get_column("transaction_id")
        label = {"transaction_id": named, "is_fraud": frauds, "merchant": "Kiosk", "merchant_category": None}
        labels.append(pl.DataFrame(label).with_columns(day=0, known_day=0).select(*LABELS).cast(dict(LABELS)))
    tables["labels"] = pl.concat(labels)
    for name, table in tables.items():
        (root / name).mkdir(parents=True)
        table.write_parquet(root / name / "part-0.parquet")
    (root / "reference").mkdir()
    usual = histogram(values, np.zeros(count, np.int64), np.ones(count, np.float32))
    (root / "reference/manifest.json").write_text(json.dumps({"histograms": {"amount": usual}}))
    return {name: root / name for name in (*tables, "reference") if "/" not in name} | {"past": root / "past"}


@dataclass(frozen=True)
class Places:
    """A table, a topic with a queue behind it, a state machine: of one test's own."""

    table: str
    topic: str
    queue: str
    machine: str

    def items(self) -> dict[str, dict[str, Any]]:
        pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=self.table)
        return {item["key"]["S"]: item for page in pages for item in page["Items"]}

    def received(self) -> list[dict[str, Any]]:
        """All that came to the queue since it was last asked."""
        queue, messages = boto3.client("sqs"), []
        while batch := queue.receive_message(
            QueueUrl=self.queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in batch:
                queue.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            messages += batch
        return messages

    def cases(self) -> set[str]:
        listed = boto3.client("stepfunctions").list_executions(stateMachineArn=self.machine)["executions"]
        return {execution["name"] for execution in listed}


def made(name: str, *, fifo: bool = False) -> Places:
    tables.make(name)
    suffix, kinds = (".fifo", [{"FifoTopic": "true"}, {"FifoQueue": "true"}]) if fifo else ("", [{}, {}])
    topic = boto3.client("sns").create_topic(Name=name + suffix, Attributes=kinds[0])["TopicArn"]
    queue = boto3.client("sqs").create_queue(QueueName=name + suffix, Attributes=kinds[1])["QueueUrl"]
    arn = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    raw = {"RawMessageDelivery": "true"}
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
    definition = {"StartAt": "Open", "States": {"Open": {"Type": "Pass", "End": True}}}
    machine = boto3.client("stepfunctions").create_state_machine(
        name=name, definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/investigation"
    )
    return Places(name, topic, queue, machine["stateMachineArn"])


@pytest.fixture
def places(aws: None, request: pytest.FixtureRequest) -> Places:
    return made(f"scores-{abs(hash(request.node.name))}")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drawing takes longer than all the rest, and is tested elsewhere."""
    monkeypatch.setattr(alert_and_store, "render", lambda _report: b"%PDF")
    return


def run(inputs: dict[str, Path], root: Path, places: Places, now: datetime = NOW, **texts: Any) -> dict[str, Any]:
    outputs = {name: root / name for name in ("results", "archive", "report", "summary")}
    given = {"topic": places.topic, "investigation": places.machine} | texts
    return run_stage(
        "alert-and-store",
        inputs,
        outputs,
        as_of=DAY + timedelta(days=1),
        table=f"dynamodb://{places.table}",
        now=now,
        **given,
    )


def seen(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What a receiver that drops repeats sees: bodies by deduplication id."""
    return {
        message["MessageAttributes"]["deduplication_id"]["StringValue"]: json.loads(message["Body"])
        for message in messages
    }


def alerts_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message.get("alerts", [message])


def test_every_score_is_stored_under_its_transaction_and_goes_when_its_time_has_come(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    """From the day, not from the clock: a rerun a week later must not keep it a week longer."""
    run(inputs, tmp_path, places, retention_days=400)
    stored = {key: item for key, item in places.items().items() if key.startswith("tx-")}
    assert set(stored) == set(ids(len(SCORED)))
    end = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(days=400)
    assert {item["expires_at"]["N"] for item in stored.values()} == {str(int(end.timestamp()))}
    assert [float(stored[id_]["fraud_score"]["N"]) for id_ in ids(len(SCORED))] == SCORED
    assert stored["tx-0"]["reasons"]["L"][0]["M"]["feature"] == {"S": "amount"}


def test_only_scores_above_low_are_in_the_index_of_the_day(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    """An index on the day of every score would send all writes to one partition."""
    run(inputs, tmp_path, places)
    flagged = {key for key, item in places.items().items() if "flagged_day" in item}
    assert flagged == {id_ for id_, score in zip(ids(len(SCORED)), SCORED, strict=True) if score > 0.5}


def test_urgent_alerts_come_one_by_one_and_the_rest_in_a_digest(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    summary = run(inputs, tmp_path, places)
    messages = places.received()
    by_priority = {"URGENT": [], "NORMAL": []}
    for message in messages:
        attributes = message["MessageAttributes"]
        assert attributes["day"]["StringValue"] == str(DAY)
        by_priority[attributes["alert_priority"]["StringValue"]].append(json.loads(message["Body"]))
    assert {alert["transaction_id"] for alert in by_priority["URGENT"]} == URGENT
    (digest,) = by_priority["NORMAL"]
    assert {alert["transaction_id"] for alert in digest["alerts"]} == {"tx-1", "tx-3", "tx-4"}
    assert (summary["alerts_sent"], summary["messages"]) == (5, 3)


def test_nobody_reads_a_customers_identifier_in_an_alert_or_a_case():
    alerts = list(alerts_of(high_risk(), DAY))
    texts = [message.body + message.subject for message in messages_of(alerts, DAY)]
    texts += [case.body + case.name for case in cases_of(high_risk(), DAY)]
    assert not any(customer(number) in text for number in range(4) for text in texts)


def test_a_digest_fits_into_a_message_and_none_is_lost():
    """SNS refuses more than 256 KiB: then nobody would hear of any."""
    table = high_risk(2_000, lambda number: f"customer-{'x' * 50}{number}")
    messages = list(messages_of(list(alerts_of(table, DAY)), DAY))
    digests = [message for message in messages if message.priority == "NORMAL"]
    assert len(digests) > 1
    assert max(len(message.body.encode()) for message in messages) <= 256 * 1024 - 1024
    told = [alert["transaction_id"] for message in messages for alert in alerts_in(json.loads(message.body))]
    assert sorted(told) == sorted(ids(2_000))
    assert len({message.id for message in messages}) == len(messages)


def test_a_case_is_a_customers_day_under_a_name_that_step_functions_takes(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    run(inputs, tmp_path, places)
    cases = list(cases_of(high_risk(), DAY))
    assert len(cases) == 4  # five alerts, two of them of one customer
    assert places.cases() == {case.name for case in cases}
    assert all(len(case.name) <= 80 and case.name.replace("-", "").isalnum() for case in cases)
    first = json.loads(cases[0].body)
    assert [alert["transaction_id"] for alert in first["alerts"]] == ["tx-0", "tx-4"]
    assert (first["alert_priority"], first["alert_count"], first["expected_loss"]) == ("URGENT", 2, 222.22)


def test_a_finished_day_sends_nothing_when_it_is_run_again(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    first = run(inputs, tmp_path, places)
    items, cases = places.items(), places.cases()
    assert len(places.received()) == 3
    second = run(inputs, tmp_path, places, now=NOW + timedelta(seconds=1))
    assert places.received() == []
    assert (places.items(), places.cases()) == (items, cases)
    assert second == first


def test_killed_after_any_call_a_rerun_ends_equal_and_each_alert_is_seen_once(
    inputs: dict[str, Path], aws: None, tmp_path: Path, no_report: None
):
    """Between two calls a job may be killed for good: what it did is done, what it holds is still held."""
    whole = made("whole")
    summary = run(inputs, tmp_path / "whole", whole)
    expected, messages = whole.items(), seen(whole.received())
    for calls in range(100):
        places, root = made(f"killed-{calls}"), tmp_path / str(calls)
        try:
            with killed_after(calls) as asked:
                run(inputs, root, places)
            break
        except Killed:
            pass
        if "PutItem" in asked:  # it has the claim, and nobody knows yet that it is dead
            with pytest.raises(TemporaryError, match="another runner has claimed 2026-01-31"):
                run(inputs, root, places, now=LATER - timedelta(seconds=1))
        again = run(inputs, root, places, now=LATER)
        received = places.received()
        assert seen(received) == messages
        assert len(received) <= len(messages) + 1  # the one whose mark was not written
        assert places.items() == expected
        assert places.cases() == whole.cases()
        assert {**again, "report_s3_path": ""} == {**summary, "report_s3_path": ""}
    assert {"PutItem", "BatchWriteItem", "Publish", "StartExecution", "DeleteItem"} <= set(asked)


def test_two_runners_of_one_day_exclude_each_other(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None, monkeypatch: pytest.MonkeyPatch
):
    """A message of the schedule that is delivered twice starts two, under the same name."""
    original = outbox.publish

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(outbox, "publish", original)
        with pytest.raises(TemporaryError, match="another runner has claimed"):
            run(inputs, tmp_path / "second", places, now=NOW + timedelta(minutes=1))
        original(*arguments)

    monkeypatch.setattr(outbox, "publish", meanwhile)
    run(inputs, tmp_path / "first", places)
    assert len(places.received()) == 3
    assert "claim/2026-01-31" not in places.items()


def test_a_runner_that_was_too_slow_does_not_end_the_claim_of_the_next(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None, monkeypatch: pytest.MonkeyPatch
):
    claims: list[dict[str, Any]] = []
    original = outbox.publish

    def overtaken(*arguments: Any) -> None:
        original(*arguments)
        claim = places.items()["claim/2026-01-31"] | {"claimed_by": {"S": "the next"}}
        dynamodb.put(places.table, [claim])
        claims.append(claim)

    monkeypatch.setattr(outbox, "publish", overtaken)
    run(inputs, tmp_path, places)
    assert places.items()["claim/2026-01-31"] == claims[0]


def test_a_stage_that_fails_gives_its_claim_back(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    """The next attempt must not wait for a claim of one that is known to have ended."""
    missing = places.topic + "-that-is-not-there"
    with pytest.raises(Exception, match="NotFound") as failed:
        run(inputs, tmp_path, places, topic=missing)
    told = faults.explain(failed.value, {})
    assert isinstance(told, InputError)
    assert "Publish was answered NotFound; check the topic's ARN" in str(told)
    run(inputs, tmp_path, places)
    assert len(places.received()) == 3


def test_a_day_that_was_scored_otherwise_before_is_refused_before_anybody_hears_of_it(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    run(inputs, tmp_path, places, topic="", investigation="")
    other = tmp_path / "other"
    other.mkdir()
    scores([0.98, *SCORED[1:]]).write_parquet(other / "part-0.parquet")
    with pytest.raises(InputError, match="channel 'archive'"):
        run({**inputs, "scores": other}, tmp_path, places)
    assert places.received() == []
    run({**inputs, "scores": other}, tmp_path, places, replace="true")
    assert len(places.received()) == 3


def test_a_fifo_topic_gets_ids_that_it_takes_and_drops_repeats_itself(
    inputs: dict[str, Path], aws: None, tmp_path: Path, no_report: None
):
    places = made("in-order", fifo=True)
    run(inputs, tmp_path, places)
    for key in [key for key in places.items() if key.startswith("sent/")]:
        boto3.client("dynamodb").delete_item(TableName=places.table, Key={"key": {"S": key}})
    run(inputs, tmp_path, places)
    assert len(places.received()) == 3


def test_what_is_to_be_sent_needs_a_table_to_remember_it_in(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    outputs = {name: tmp_path / name for name in ("results", "archive", "report", "summary")}
    with pytest.raises(InputError, match="--table is missing"):
        run_stage("alert-and-store", inputs, outputs, as_of=DAY + timedelta(days=1), topic=places.topic)


def test_metrics_of_the_last_mature_days_are_those_of_their_labels(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    """By hand: of five alerts four are fraud, and a fifth fraud ranks eighth of ten."""
    watched = run(inputs, tmp_path, places)[WATCHED]
    assert (watched["scored"], watched["alert_rate"]) == (10, 0.5)
    assert watched["accuracy"] == pytest.approx(0.8)
    assert watched["precision"] == pytest.approx(4 / 5)
    assert watched["recall"] == pytest.approx(4 / 5)
    assert watched["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 5 + 5 / 8) / 5)
    assert watched["drift"] == 0


def test_days_whose_labels_are_not_mature_do_not_count(
    inputs: dict[str, Path], places: Places, tmp_path: Path, no_report: None
):
    """Frauds are known first: of a fresh day every label would be one."""
    labels = pl.read_parquet(inputs["labels"])
    early = pl.col("transaction_id").str.ends_with(f"-{DAY - timedelta(days=6)}")
    (tmp_path / "labels").mkdir()
    labels.filter(~early | (pl.col("is_fraud") == 1)).write_parquet(tmp_path / "labels/part-0.parquet")
    watched = run({**inputs, "labels": tmp_path / "labels"}, tmp_path, places)[WATCHED]
    assert watched["precision"] == pytest.approx(4 / 5)
    fresh = run({**inputs, "labels": tmp_path / "labels"}, tmp_path, places, label_delay_days=4)[WATCHED]
    assert fresh["precision"] == pytest.approx((6 * 4 + 4) / (6 * 5 + 4))
    none = run(inputs, tmp_path, places, label_delay_days=30)[WATCHED]
    assert none["accuracy"] is None
