"""Good rows from broken ones, lazily: only ids that occur more than once are looked at together."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fraudline.catalog.schema import TRANSACTIONS
from fraudline.etl.rules import RAW_RULES, is_broken, reasons

_ID = pl.col("transaction_id")


@dataclass(frozen=True)
class Judged:
    """Valid rows (schema TRANSACTIONS), broken ones with all their reasons, and how many copies were collapsed."""

    valid: pl.LazyFrame
    rejected: pl.LazyFrame
    copies: int


def judge(rows: pl.LazyFrame, repeated: pl.Expr) -> Judged:
    """Set broken rows aside, and collapse identical copies of an id, wherever they lie.

    Args:
        rows: as read_days gives them; all rows of an id are among them.
        repeated: the repeated_ids of these rows, or of more.
    """
    again = rows.filter(repeated).collect(engine="streaming")
    # Of copies that lie in several days the one in its own day stays. That a copy was written in another format
    # makes it no other row.
    own_day = pl.col("timestamp").dt.date() == pl.col("partition")
    ordered = again.sort(*TRANSACTIONS, own_day.not_(), "partition", "amount")
    distinct = ordered.unique(list(TRANSACTIONS), keep="first", maintain_order=True)
    settled = distinct.with_columns(_ID.is_duplicated().alias("contradicting"))
    single = rows.filter(~repeated).with_columns(pl.lit(False).alias("contradicting"))
    judged = pl.concat([single, settled.lazy()])
    broken = is_broken(RAW_RULES)
    return Judged(
        judged.filter(~broken).select(*TRANSACTIONS),
        judged.filter(broken).with_columns(reasons(RAW_RULES)),
        again.height - distinct.height,
    )


def repeated_ids(rows: pl.LazyFrame) -> pl.Expr:
    """Whether a row's id may occur more than once in rows: surely where it does, and hardly ever where it does not.

    By 8 bytes an id, where the ids themselves would fill the memory.
    """
    hashes = rows.filter(_ID.is_not_null()).select(_ID.hash()).collect(engine="streaming").to_series().sort()
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    if repeated.is_empty():
        return pl.lit(False)
    return _ID.is_not_null() & _ID.hash().is_in(repeated.implode())


def id_slice(number: int, count: int) -> pl.Expr:
    """Whether a row belongs to one of ``count`` slices; all rows of an id belong to the same."""
    return _ID.hash() % count == number if count > 1 else pl.lit(True)
