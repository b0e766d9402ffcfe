"""The rules that reject rows, as data: one table for transactions and one for labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Keeps a window's sum of squared cents below 2^63, even for 92,000 rows of this amount on one card.
MAX_AMOUNT = 100_000.00

# One such label file does not count toward the share of rows at which a stage stops.
UNREADABLE_FILE = "unreadable-file"


@dataclass(frozen=True)
class Rule:
    """A reason to reject a row.

    Attributes:
        name: the value in the column ``reasons``.
        broken: the condition of a broken row, in SQL that polars and Spark evaluate alike.
        description: completes "a row is broken where …" in docs/data.md.
    """

    name: str
    broken: str
    description: str


def _missing(column: str) -> str:
    return f"{column} IS NULL OR {column} = ''"


# Both engines order NaN above every number, so the comparison excludes NaN and the infinities.
_FINITE = "ABS(amount) <= 1.7976931348623157e308"

RAW_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-customer-id", _missing("customer_id"), "`customer_id` is missing or empty"),
    Rule("no-merchant", _missing("merchant"), "`merchant` is missing or empty"),
    Rule("no-amount", f"amount IS NULL OR NOT {_FINITE}", "`amount` is missing or not a finite number"),
    Rule("negative-amount", f"{_FINITE} AND amount < 0", "`amount` is below zero"),
    Rule("huge-amount", f"{_FINITE} AND amount > {MAX_AMOUNT}", f"`amount` is above {MAX_AMOUNT:,.2f}"),
    Rule("no-timestamp", "timestamp IS NULL", "`timestamp` is missing or not a timestamp"),
    Rule("other-day", "CAST(timestamp AS DATE) <> partition", "`timestamp` is not on the UTC day of its folder"),
    Rule("unreadable-place", "unreadable_coordinates", "a coordinate has a value that is not a number"),
    Rule(
        "contradicting-id",
        "contradicting",
        "rows with the same `transaction_id` differ; all are rejected, because none is known to be the true one",
    ),
)

LABEL_RULES = (
    Rule("no-transaction-id", _missing("transaction_id"), "`transaction_id` is missing or empty"),
    Rule("no-label", "is_fraud IS NULL", "`is_fraud` is missing or not a number"),
    Rule("label-not-0-or-1", "is_fraud NOT IN (0, 1)", "`is_fraud` is neither 0 nor 1"),
    Rule("unreadable-labeled-at", "unreadable_labeled_at", "`labeled_at` has a value that is not a timestamp"),
    Rule(UNREADABLE_FILE, "unreadable_file", "a whole file can't be read as labels; `transaction_id` is its name"),
)


def is_broken(rules: Sequence[Rule]) -> pl.Expr:
    """Return True where a row breaks any rule; never null."""
    return pl.any_horizontal(pl.sql_expr(rule.broken).fill_null(value=False) for rule in rules)


def reasons(rules: Sequence[Rule]) -> pl.Expr:
    """Return the names of all rules that a row breaks, as the list column ``reasons``."""
    names = [pl.when(pl.sql_expr(rule.broken)).then(pl.lit(rule.name)) for rule in rules]
    return pl.concat_list(names).list.drop_nulls().alias("reasons")
