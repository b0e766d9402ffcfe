"""What makes a row unusable: the rules as data, for transactions and for labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Keeps the windows' sums of squares, in cents, below 2^63: 92,000 such rows a card in a window.
MAX_AMOUNT = 100_000.00


@dataclass(frozen=True)
class Rule:
    """A row is broken where the condition is true: SQL that polars and Spark read alike."""

    name: str
    broken: str
    says: str


def _missing(column: str) -> str:
    return f"{column} IS NULL OR {column} = ''"


_FINITE = "ABS(amount) <= 1.7976931348623157e308"  # which NaN, larger than any number here and there, is not

RAW_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-customer-id", _missing("customer_id"), "`customer_id` is missing or empty"),
    Rule("no-merchant", _missing("merchant"), "`merchant` is missing or empty"),
    Rule("no-amount", f"amount IS NULL OR NOT {_FINITE}", "`amount` is missing or not a finite number"),
    Rule("negative-amount", f"{_FINITE} AND amount < 0", "`amount` is below zero"),
    Rule("huge-amount", f"{_FINITE} AND amount > {MAX_AMOUNT}", f"`amount` is above {MAX_AMOUNT:,.2f}"),
    Rule("no-timestamp", "timestamp IS NULL", "`timestamp` is missing or not a timestamp"),
    Rule("other-day", "CAST(timestamp AS DATE) <> partition", "`timestamp` lies outside the UTC day of its folder"),
    Rule("unreadable-place", "unreadable_place", "a coordinate is there and is not a number"),
    Rule(
        "contradicting-id",
        "contradicting",
        "one `transaction_id` stands for different rows: nobody can say which is true, so all are rejected",
    ),
)

LABEL_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-label", "is_fraud IS NULL", "`is_fraud` is missing or not a number"),
    Rule("label-not-0-or-1", "is_fraud NOT IN (0, 1)", "`is_fraud` is neither 0 nor 1"),
    Rule("unreadable-labeled-at", "unreadable_labeled_at", "`labeled_at` is there and is not a timestamp"),
)


def is_broken(rules: Sequence[Rule]) -> pl.Expr:
    """Whether a row breaks any rule; never null."""
    return pl.any_horizontal(pl.sql_expr(rule.broken).fill_null(value=False) for rule in rules)


def reasons(rules: Sequence[Rule]) -> pl.Expr:
    """The names of all rules that a row breaks, as the list column ``reasons``."""
    named = [pl.when(pl.sql_expr(rule.broken)).then(pl.lit(rule.name)) for rule in rules]
    return pl.concat_list(named).list.drop_nulls().alias("reasons")
