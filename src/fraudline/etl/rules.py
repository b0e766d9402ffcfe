"""What makes a raw row unusable: the rules as data, and the one pass that applies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from fraudline.errors import InputError
from fraudline.schema import REJECTED, TRANSACTIONS

# Keeps the windows' sums of squares, in cents, below 2^63: 92,000 such rows a card in a window.
MAX_AMOUNT = 100_000.00


@dataclass(frozen=True)
class Rule:
    """A row is broken where the condition is true."""

    name: str
    broken: pl.Expr
    says: str


_AMOUNT = pl.col("amount")

RULES = (
    Rule("no-transaction-id", pl.col("transaction_id").is_null(), "transaction_id is missing"),
    Rule("no-customer-id", pl.col("customer_id").is_null(), "customer_id is missing"),
    Rule("no-merchant", pl.col("merchant").is_null(), "merchant is missing"),
    Rule("no-amount", _AMOUNT.is_null() | ~_AMOUNT.is_finite(), "amount is missing or not a finite number"),
    Rule("negative-amount", _AMOUNT.is_finite() & (_AMOUNT < 0), "amount is below zero"),
    Rule("huge-amount", _AMOUNT.is_finite() & (_AMOUNT > MAX_AMOUNT), f"amount is above {MAX_AMOUNT:,.2f}"),
    Rule("no-timestamp", pl.col("timestamp").is_null(), "timestamp is missing"),
    Rule(
        "other-day",
        pl.col("timestamp").is_not_null() & (pl.col("timestamp").dt.date() != pl.col("partition")),
        "timestamp lies outside the day (UTC) of its folder",
    ),
    Rule(
        "contradicting-id",
        pl.col("transaction_id").is_not_null() & pl.col("transaction_id").is_duplicated(),
        "the same transaction_id stands for different rows",
    ),
)


@dataclass(frozen=True)
class Judged:
    """Valid rows (schema TRANSACTIONS, by time), broken ones (schema REJECTED), and copies collapsed."""

    valid: pl.DataFrame
    rejected: pl.DataFrame
    copies: int

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows each rule broke; a row may break several."""
        return count_reasons(self.rejected)

    def of_day(self, day: date) -> Judged:
        """Only the rows of one day's folder."""
        return Judged(
            self.valid.filter(pl.col("timestamp").dt.date() == day),
            self.rejected.filter(pl.col("partition") == day),
            self.copies,
        )

    def check(self, max_rejected: float) -> None:
        """Refuse input of which too large a share is broken."""
        check_share("raw", self.valid.height + self.rejected.height, self.rejected, max_rejected)


def judge(raw: pl.LazyFrame) -> Judged:
    """Set broken rows aside with all their reasons, and collapse identical copies of an id."""
    rows = raw.collect()
    distinct = rows.unique(maintain_order=False) if rows.get_column("transaction_id").is_duplicated().any() else rows
    judged = distinct.with_columns(reasons_of(RULES))
    broken = pl.col("reasons").list.len() > 0
    valid = judged.filter(~broken).with_columns((_AMOUNT * 100).round().cast(pl.Int64).alias("cents"))
    return Judged(
        valid.sort("timestamp", "transaction_id").select(*TRANSACTIONS),
        judged.filter(broken).sort("partition", "transaction_id").drop(set(judged.columns) - set(REJECTED)),
        rows.height - distinct.height,
    )


def reasons_of(rules: Sequence[Rule]) -> pl.Expr:
    """The names of all rules that a row breaks, as the list column ``reasons``."""
    named = [pl.when(rule.broken).then(pl.lit(rule.name)) for rule in rules]
    return pl.concat_list(named).list.drop_nulls().alias("reasons")


def count_reasons(rejected: pl.DataFrame) -> dict[str, int]:
    """How many rejected rows there are by reason; a row may have several."""
    return dict(sorted(rejected.get_column("reasons").explode(empty_as_null=False).value_counts().iter_rows()))


def check_share(channel: str, rows: int, rejected: pl.DataFrame, max_rejected: float) -> None:
    """Refuse a channel of whose rows too large a share is broken."""
    if rows and rejected.height > max_rejected * rows:
        reasons = ", ".join(f"{name} {count}" for name, count in count_reasons(rejected).items())
        raise InputError(
            f"channel '{channel}': {rejected.height} of {rows} rows are broken ({reasons}), more than the "
            f"{max_rejected:.1%} allowed; mend the delivery, or allow more with --max-rejected"
        )
