"""What makes a row unusable: the rules as data, for transactions and for labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Keeps the windows' sums of squares, in cents, below 2^63: 92,000 such rows a card in a window.
MAX_AMOUNT = 100_000.00


@dataclass(frozen=True)
class Rule:
    """A row is broken where the condition is true."""

    name: str
    broken: pl.Expr
    says: str


def _missing(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")


_AMOUNT, _AT = pl.col("amount"), pl.col("timestamp")
_FINITE = _AMOUNT.is_finite().fill_null(value=False)

RAW_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-customer-id", _missing("customer_id"), "`customer_id` is missing or empty"),
    Rule("no-merchant", _missing("merchant"), "`merchant` is missing or empty"),
    Rule("no-amount", ~_FINITE, "`amount` is missing or not a finite number"),
    Rule("negative-amount", _FINITE & (_AMOUNT < 0), "`amount` is below zero"),
    Rule("huge-amount", _FINITE & (_AMOUNT > MAX_AMOUNT), f"`amount` is above {MAX_AMOUNT:,.2f}"),
    Rule("no-timestamp", _AT.is_null(), "`timestamp` is missing or not a timestamp"),
    Rule(
        "other-day",
        _AT.is_not_null() & (_AT.dt.date() != pl.col("partition")),
        "`timestamp` lies outside the UTC day of its folder",
    ),
    Rule("unreadable-place", pl.col("unreadable_place"), "a coordinate is there and is not a number"),
    Rule(
        "contradicting-id",
        pl.col("contradicting"),
        "one `transaction_id` stands for different rows: nobody can say which is true, so all are rejected",
    ),
)

LABEL_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-label", pl.col("is_fraud").is_null(), "`is_fraud` is missing or not a number"),
    Rule(
        "label-not-0-or-1",
        pl.col("is_fraud").is_not_null() & ~pl.col("is_fraud").is_in([0, 1]),
        "`is_fraud` is neither 0 nor 1",
    ),
    Rule("unreadable-labeled-at", pl.col("unreadable_labeled_at"), "`labeled_at` is there and is not a timestamp"),
)


def is_broken(rules: Sequence[Rule]) -> pl.Expr:
    """Whether a row breaks any rule; never null."""
    return pl.any_horizontal(rule.broken for rule in rules)


def reasons(rules: Sequence[Rule]) -> pl.Expr:
    """The names of all rules that a row breaks, as the list column ``reasons``."""
    named = [pl.when(rule.broken).then(pl.lit(rule.name)) for rule in rules]
    return pl.concat_list(named).list.drop_nulls().alias("reasons")
