"""Deliver a day's scores: write files, store scores in the table, send alerts to a topic, and open cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.runtime.channels import MANIFEST_FILE, Channels, content_hash
from fraudline.score import outbox
from fraudline.score.alerts import Alert, Case, Message, cases_of, messages_of
from fraudline.score.score_table import ScoreTable


@dataclass(frozen=True)
class Receivers:
    """The receivers of a day's scores on AWS; each may be empty.

    Attributes:
        table: the score table, dynamodb://NAME.
        topic: the ARN of an SNS topic for alerts.
        investigation: the ARN of a STANDARD state machine for cases.
        retention_days: the number of days for which the table keeps a day.
    """

    table: str
    topic: str
    investigation: str
    retention_days: int

    def score_table(self, day: date) -> ScoreTable | None:
        """Return the score table for a day, or None without a table.

        Raises:
            InputError: a topic or a state machine is set without a table.
        """
        if self.table:
            return ScoreTable(self.table, day, self.retention_days)
        if self.topic or self.investigation:
            raise InputError("--table is missing: --topic and --investigation need it, to send nothing twice")
        return None


@dataclass(frozen=True)
class Delivery:
    """What each receiver has got of a day, in this run or an earlier one; None for a missing receiver.

    Attributes:
        alerts_sent: the number of alerts that the topic accepted.
        messages: the number of messages with these alerts.
        cases: the number of cases that were opened.
        records_stored: the number of scores in the table.
    """

    alerts_sent: int | None = None
    messages: int | None = None
    cases: int | None = None
    records_stored: int | None = None


def write_alerts(channels: Channels, alerts: Sequence[Alert]) -> None:
    """Write ``results``: alerts.jsonl, one alert a line."""
    lines = "".join(f"{json.dumps(alert)}\n" for alert in alerts)
    (channels.output("results") / "alerts.jsonl").write_text(lines)


def write_archive(channels: Channels, scores: pl.DataFrame, day: date, execution: str) -> int:
    """Write ``archive``, the day's scores and their manifest, without publishing it yet; return the number of rows."""
    archived = scores.sort("transaction_id")
    channels.write("archive", archived)
    # Without the reasons: content_hash writes CSV, which has no nested columns. Equal scores have equal reasons.
    content = content_hash(archived.select(pl.exclude("reasons")))
    channels.write_json("archive", MANIFEST_FILE, {"day": day.isoformat(), "execution": execution, "content": content})
    return archived.height


@dataclass(frozen=True)
class Outgoing:
    """Everything that a day delivers, composed before any of it is sent."""

    scores: pl.DataFrame
    messages: Sequence[Message]
    cases: Sequence[Case]


def prepare(
    receivers: Receivers, scores: pl.DataFrame, alerts: Sequence[Alert], high_risk: pl.DataFrame, day: date
) -> Outgoing:
    """Compose the messages and cases of a day; without a receiver there are none."""
    messages = list(messages_of(alerts, day)) if receivers.topic else []
    cases = list(cases_of(high_risk, day)) if receivers.investigation else []
    return Outgoing(scores, messages, cases)


def deliver(table: ScoreTable | None, receivers: Receivers, outgoing: Outgoing, day: date, now: datetime) -> Delivery:
    """Claim the day, store the scores, and send the messages and cases that no earlier run has sent.

    Raises:
        TemporaryError: another runner has claimed the day.
    """
    if table is None:
        return Delivery()
    with table.claimed(now):
        # Scores before alerts, so that an analyst who gets an alert can look the score up.
        delivery = Delivery(records_stored=table.put(outgoing.scores))
        if receivers.topic:
            outbox.publish(table, receivers.topic, outgoing.messages, day)
            alerts_sent = sum(message.alert_count for message in outgoing.messages)
            delivery = replace(delivery, alerts_sent=alerts_sent, messages=len(outgoing.messages))
        if receivers.investigation:
            outbox.open_cases(table, receivers.investigation, outgoing.cases)
            delivery = replace(delivery, cases=len(outgoing.cases))
        return delivery
