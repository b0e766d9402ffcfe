"""What is said about the transactions above the threshold: alerts, the messages that carry them, and cases.

All of it is the same whenever the day is run. The customer's identifier is masked; what an analyst looks a
transaction up by, its own id, is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count
from typing import Any

import polars as pl

from fraudline.catalog.risk import NORMAL, URGENT
from fraudline.score.wording import masked

Alert = dict[str, Any]

# SNS takes 256 KiB, its attributes included.
LARGEST_MESSAGE = 256 * 1024 - 4096  # bytes
ALERTS_IN_A_CASE = 50


@dataclass(frozen=True)
class Message:
    """What is published at once; whoever has seen its id has seen it."""

    id: str
    priority: str
    subject: str
    body: str


@dataclass(frozen=True)
class Case:
    """A customer's alerts of a day, to be investigated together; the name is one for Step Functions."""

    name: str
    body: str


def alerts_of(high_risk: pl.DataFrame, day: date) -> Iterator[Alert]:
    """Alerts as they are published, in the order of their rows.

    ``deduplication_id`` is the same whenever the day is run, so that a receiver can drop a repeat.
    """
    for row in high_risk.iter_rows(named=True):
        yield {
            "deduplication_id": f"{day}/{row['transaction_id']}",
            "alert_priority": row["alert_priority"],
            "transaction_id": row["transaction_id"],
            "customer_id": masked(row["customer_id"]),
            "merchant": row["merchant"],
            "amount": row["cents"] / 100,
            "timestamp": row["timestamp"].isoformat(),
            "fraud_score": row["fraud_score"],
            "expected_loss": row["expected_loss"],
            "reasons": row["reasons"],
            "model_version": row["model_version"],
        }


def messages_of(alerts: Sequence[Alert], day: date, largest: int = LARGEST_MESSAGE) -> Iterator[Message]:
    """The URGENT alerts one by one, then the rest in digests of at most so many bytes."""
    for alert in alerts:
        if alert["alert_priority"] == URGENT:
            yield message_of(alert, day)
    rest = [json.dumps(alert) for alert in alerts if alert["alert_priority"] != URGENT]
    for number, lines in zip(count(1), _digests(rest, largest), strict=False):
        listed = f"[{','.join(lines)}]"
        # By its content: where the day is run again and brings other alerts, their digest is another.
        identifier = f"{day}/digest/{hashlib.sha256(listed.encode()).hexdigest()[:16]}"
        head = {"deduplication_id": identifier, "alert_priority": NORMAL, "day": str(day), "digest": number}
        body = f'{json.dumps(head)[:-1]}, "count": {len(lines)}, "alerts": {listed}}}'
        yield Message(identifier, NORMAL, f"{len(lines)} fraud alerts of {day}, digest {number}", body)


def message_of(alert: Alert, day: date) -> Message:
    """One alert as a message of its own."""
    subject = f"{alert['alert_priority']} fraud alert of {day}, score {alert['fraud_score']:.3f}"
    return Message(alert["deduplication_id"], alert["alert_priority"], subject, json.dumps(alert))


def cases_of(high_risk: pl.DataFrame, day: date) -> Iterator[Case]:
    """One case for each customer with alerts, the one with the highest score first."""
    for (customer,), rows in high_risk.group_by("customer_id", maintain_order=True):
        alerts = list(alerts_of(rows, day))
        urgent = any(alert["alert_priority"] == URGENT for alert in alerts)
        name = f"{day}-{hashlib.sha256(f'{day}/{customer}'.encode()).hexdigest()[:32]}"
        content = {
            "case_id": name,
            "day": str(day),
            "customer_id": alerts[0]["customer_id"],
            "alert_priority": URGENT if urgent else NORMAL,
            "expected_loss": round(sum(alert["expected_loss"] for alert in alerts), 2),
            "alert_count": len(alerts),
            "alerts": alerts[:ALERTS_IN_A_CASE],
        }
        yield Case(name, json.dumps(content))


def _digests(lines: Sequence[str], largest: int) -> Iterator[list[str]]:
    """Lines, all of them ASCII, in as few lists as fit."""
    room = largest - 1024  # for what stands around them
    digest: list[str] = []
    for line in lines:
        if digest and sum(map(len, digest)) + len(digest) + len(line) > room:
            yield digest
            digest = []
        digest.append(line)
    if digest:
        yield digest
