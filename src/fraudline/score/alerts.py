"""Compose alerts for the scores above the threshold, messages with these alerts, and one case per customer.

Everything depends only on the day's scores, so a rerun repeats it exactly. Customer ids are masked.
Transaction ids are not, because analysts need them to look transactions up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from fraudline.catalog.risk import NORMAL, URGENT

Alert = dict[str, Any]

# SNS accepts 256 KiB, message attributes included.
MAX_MESSAGE = 256 * 1024 - 4096  # bytes
_MAX_HEAD = 1024  # bytes of a digest's body besides its alerts
ALERTS_PER_CASE = 50


@dataclass(frozen=True)
class Message:
    """One SNS message with one or more alerts. ``id`` is its idempotency key."""

    id: str
    priority: str
    subject: str
    body: str
    alert_count: int


@dataclass(frozen=True)
class Case:
    """A customer's alerts of one day, investigated together. ``name`` is the name of its Step Functions execution."""

    name: str
    body: str


def mask(identifier: str) -> str:
    """Return the identifier with only its last four characters shown, and at least half of it hidden."""
    shown = min(4, len(identifier) // 2)
    hidden = len(identifier) - shown
    return "•" * hidden + identifier[hidden:]


def alerts_of(high_risk: pl.DataFrame, day: date) -> Iterator[Alert]:
    """Yield an alert for each row (schema HIGH_RISK), in the order of the rows.

    ``deduplication_id`` is the same in every run of the day, so receivers can drop repeats.
    """
    for row in high_risk.iter_rows(named=True):
        yield {
            "deduplication_id": f"{day}/{row['transaction_id']}",
            "alert_priority": row["alert_priority"],
            "transaction_id": row["transaction_id"],
            "customer_id": mask(row["customer_id"]),
            "merchant": row["merchant"],
            "amount": row["cents"] / 100,
            "timestamp": row["timestamp"].isoformat(),
            "fraud_score": row["fraud_score"],
            "expected_loss": row["expected_loss"],
            "reasons": row["reasons"],
            "model_version": row["model_version"],
        }


def messages_of(alerts: Sequence[Alert], day: date, max_size: int = MAX_MESSAGE) -> Iterator[Message]:
    """Yield each URGENT alert as its own message, then the rest in digests of at most ``max_size`` bytes."""
    for alert in alerts:
        if alert["alert_priority"] == URGENT:
            yield message_of(alert, day)
    rest = [json.dumps(alert) for alert in alerts if alert["alert_priority"] != URGENT]
    for number, part in enumerate(_split(rest, max_size - _MAX_HEAD), start=1):
        yield _digest(part, number, day)


def message_of(alert: Alert, day: date) -> Message:
    """Return one alert as its own message."""
    subject = f"{alert['alert_priority']} fraud alert of {day}, score {alert['fraud_score']:.3f}"
    return Message(alert["deduplication_id"], alert["alert_priority"], subject, json.dumps(alert), alert_count=1)


def cases_of(high_risk: pl.DataFrame, day: date) -> Iterator[Case]:
    """Yield one case for each customer with alerts, in the order of their highest scores."""
    for (customer,), rows in high_risk.group_by("customer_id", maintain_order=True):
        alerts = list(alerts_of(rows, day))
        urgent = any(alert["alert_priority"] == URGENT for alert in alerts)
        # A hash, because Step Functions limits names to 80 plain characters, and must not see the customer's id.
        name = f"{day}-{hashlib.sha256(f'{day}/{customer}'.encode()).hexdigest()[:32]}"
        content = {
            "case_id": name,
            "day": str(day),
            "customer_id": alerts[0]["customer_id"],
            "alert_priority": URGENT if urgent else NORMAL,
            "expected_loss": round(sum(alert["expected_loss"] for alert in alerts), 2),
            "alert_count": len(alerts),
            "alerts": alerts[:ALERTS_PER_CASE],
        }
        yield Case(name, json.dumps(content))


def _digest(alerts: Sequence[str], number: int, day: date) -> Message:
    """Join alerts, each a JSON string, into one message."""
    array = f"[{','.join(alerts)}]"
    # The id depends on the content: if a rerun has other alerts, their digest is a new message.
    id_ = f"{day}/digest/{hashlib.sha256(array.encode()).hexdigest()[:16]}"
    head = {"deduplication_id": id_, "alert_priority": NORMAL, "day": str(day), "digest": number}
    body = f'{json.dumps(head)[:-1]}, "count": {len(alerts)}, "alerts": {array}}}'
    subject = f"{len(alerts)} fraud alerts of {day}, digest {number}"
    return Message(id_, NORMAL, subject, body, alert_count=len(alerts))


def _split(texts: Sequence[str], max_size: int) -> Iterator[list[str]]:
    """Split ASCII strings into lists of at most ``max_size`` bytes, each string counted with a comma."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > max_size:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text) + 1
    if part:
        yield part
