"""Split rows into valid and rejected ones, lazily; only rows with repeated ids are collected and compared."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fraudline.catalog.schema import TRANSACTIONS
from fraudline.etl.rules import RAW_RULES, is_broken, reasons

_ID = pl.col("transaction_id")


@dataclass(frozen=True)
class Validated:
    """Rows after validation.

    Attributes:
        valid: rows of schema TRANSACTIONS.
        rejected: broken rows with all their ``reasons``.
        copies: the number of identical copies that were collapsed.
    """

    valid: pl.LazyFrame
    rejected: pl.LazyFrame
    copies: int


def validate(rows: pl.LazyFrame, repeated: pl.Expr) -> Validated:
    """Separate broken rows, and collapse identical copies of an id, even from different files.

    Args:
        rows: the columns of ``read_days``, with all rows of each id.
        repeated: the ``repeated_ids`` of these rows, or of a superset.
    """
    copies = rows.filter(repeated).collect(engine="streaming")
    # If folders of several days have copies, keep the copy in its own day. The raw amount only breaks ties:
    # it differs if a copy was written in another format, which does not make it a different row.
    own_day = pl.col("timestamp").dt.date() == pl.col("partition")
    ordered = copies.sort(*TRANSACTIONS, own_day.not_(), "partition", "amount")
    distinct = ordered.unique(list(TRANSACTIONS), keep="first", maintain_order=True)
    compared = distinct.with_columns(_ID.is_duplicated().alias("contradicting"))
    single = rows.filter(~repeated).with_columns(pl.lit(False).alias("contradicting"))
    all_rows = pl.concat([single, compared.lazy()])
    broken = is_broken(RAW_RULES)
    return Validated(
        valid=all_rows.filter(~broken).select(*TRANSACTIONS),
        rejected=all_rows.filter(broken).with_columns(reasons(RAW_RULES)),
        copies=copies.height - distinct.height,
    )


def repeated_ids(rows: pl.LazyFrame) -> pl.Expr:
    """Return a condition that is True for every row whose id occurs more than once.

    A hash collision can make it True for another row, too; that only costs a comparison.
    """
    # A hash takes 8 bytes per id; the ids themselves might not fit in memory.
    hashes = rows.filter(_ID.is_not_null()).select(_ID.hash()).collect(engine="streaming").to_series().sort()
    repeated = hashes.filter(hashes == hashes.shift()).unique()
    if repeated.is_empty():
        return pl.lit(False)
    return _ID.is_not_null() & _ID.hash().is_in(repeated.implode())


def id_slice(number: int, count: int) -> pl.Expr:
    """Return a condition for the rows of one of ``count`` slices; all rows of an id are in the same slice."""
    return _ID.hash() % count == number if count > 1 else pl.lit(True)
