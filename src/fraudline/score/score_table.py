"""The DynamoDB table of scores, which also records what was sent and which runner has claimed a day.

Three kinds of items share the partition key: a transaction id, for its score; ``sent/ID``, which marks a
message or case as sent; ``claim/DAY``, the claim of the runner of a day. A sparse index may use
``flagged_day`` and ``fraud_score``. Only scores above LOW have ``flagged_day``, because an index of all
scores by day would put all writes of a day on one partition.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from fraudline.catalog.days import midnight
from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.risk import LOW
from fraudline.runtime import dynamodb

# The time limit of a Lambda function, so a runner there can't outlive its claim.
CLAIM_MINUTES = 15


class ScoreTable:
    """The table, as used by the runner of one day.

    Args:
        uri: dynamodb://NAME.
        day: the scored day.
        retention_days: the number of days after which its items expire.

    Raises:
        InputError: the URI is not of this form.
    """

    def __init__(self, uri: str, day: date, retention_days: int) -> None:
        if not dynamodb.is_uri(uri):
            raise InputError(f"--table: expected dynamodb://NAME, got '{uri}'")
        self._table = uri.removeprefix(dynamodb.SCHEME)
        self._day = day
        # Counted from the day, not from now: a later rerun must not keep its items longer.
        self._expires = _seconds(midnight(day) + timedelta(days=retention_days))

    @contextmanager
    def claimed(self, now: datetime) -> Iterator[None]:
        """Exclude other runners of the day until the block ends or the claim expires.

        Raises:
            TemporaryError: another runner has claimed the day.
        """
        key, owner = f"claim/{self._day}", {"S": secrets.token_hex(16)}
        until = _seconds(now + timedelta(minutes=CLAIM_MINUTES))
        item = {"key": {"S": key}, "claimed_by": owner, "claimed_until": until, "expires_at": self._expires}
        free = "attribute_not_exists(#key) OR claimed_until <= :now"
        if not dynamodb.put_if(self._table, item, free, {":now": _seconds(now)}):
            raise TemporaryError(
                f"another runner has claimed {self._day} in table '{self._table}'; if it no longer runs, its claim "
                f"expires at most {CLAIM_MINUTES} minutes after it began: run the stage again then"
            )
        try:
            yield
        finally:
            # Delete only our own claim: if it expired, another runner may have claimed the day since.
            dynamodb.delete_if(self._table, key, "claimed_by = :owner", {":owner": owner})

    def put(self, scores: pl.DataFrame) -> int:
        """Store scores (schema SCORES) by transaction id, and return the number of scores written."""
        return dynamodb.put(self._table, map(self._item, scores.iter_rows(named=True)))

    def sent(self, ids: Iterable[str]) -> set[str]:
        """Return the ids that are marked as sent."""
        items = dynamodb.get(self._table, [f"sent/{id_}" for id_ in ids])
        return {item["key"]["S"].removeprefix("sent/") for item in items}

    def mark_sent(self, id_: str) -> None:
        """Record that a message or a case was sent."""
        item = {"key": {"S": f"sent/{id_}"}, "day": {"S": str(self._day)}, "expires_at": self._expires}
        dynamodb.put(self._table, [item])

    def _item(self, row: dict[str, Any]) -> dynamodb.Item:
        item = {
            "key": {"S": row["transaction_id"]},
            "day": {"S": str(self._day)},
            "expires_at": self._expires,
            "risk_level": {"S": row["risk_level"]},
            "model_version": {"S": row["model_version"]},
            **{name: _number(row[name]) for name in ("fraud_score", "confidence", "margin")},
        }
        if row["risk_level"] != LOW:
            item["flagged_day"] = item["day"]
        if row["reasons"]:
            item["reasons"] = {"L": [_reason(reason) for reason in row["reasons"]]}
        return item


def _reason(reason: dict[str, Any]) -> dynamodb.Item:
    numbers = {name: _number(reason[name]) for name in ("value", "contribution")}
    return {"M": {"feature": {"S": reason["feature"]}, **numbers}}


def _number(value: float | None) -> dict[str, Any]:
    return {"NULL": True} if value is None else {"N": repr(value)}


def _seconds(instant: datetime) -> dict[str, str]:
    return {"N": str(int(instant.timestamp()))}
