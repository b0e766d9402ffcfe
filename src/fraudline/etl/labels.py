"""Fraud labels, and from which day on each was known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from fraudline.catalog.days import day_number, midnight
from fraudline.catalog.errors import InputError
from fraudline.etl import values
from fraudline.etl.files import PATTERNS, Batch, Delivery, File, batches, find
from fraudline.etl.rules import LABEL_RULES, is_broken, reasons
from fraudline.runtime.channels import Channels

_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)


def read_labels(channels: Channels) -> Delivery:
    """All labels there are: transaction_id, is_fraud, labeled_at (null if unknown), unreadable_labeled_at.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    folder = channels.folder("labels")
    files = find(folder, "labels", folder)
    if not files:
        raise nothing_in(channels)
    return rows_of(files)


def rows_of(files: Sequence[File]) -> Delivery:
    """The labels in some files, as read_labels gives them.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    found = batches(files, {"transaction_id": True, "is_fraud": True, "labeled_at": False})
    return Delivery(pl.concat([_rows(batch) for batch in found]), found)


def nothing_in(channels: Channels) -> InputError:
    """What to tell where there is no file of labels."""
    return InputError(f"channel 'labels': no {PATTERNS} in '{channels.location('labels')}'; check what wrote it")


def broken_labels(labels: pl.LazyFrame) -> pl.LazyFrame:
    """The labels that can't be used, with all their reasons."""
    return labels.filter(is_broken(LABEL_RULES)).with_columns(reasons(LABEL_RULES))


def latest_labels(labels: pl.LazyFrame, repeated: pl.Expr, as_of: date) -> pl.LazyFrame:
    """One valid label an id: the latest that is from before as_of, and of two at once the one that says fraud.

    Args:
        labels: as read_labels gives them; all labels of an id are among them.
        repeated: the repeated_ids of these labels, or of more.
        as_of: labels that were made later are not there yet.
    """
    made = pl.col("labeled_at").is_null() | (pl.col("labeled_at") < midnight(as_of))
    valid = labels.filter(~is_broken(LABEL_RULES), made).select(
        "transaction_id", pl.col("is_fraud").cast(pl.Int8), "labeled_at"
    )
    again = valid.filter(repeated).collect(engine="streaming").sort("labeled_at", "is_fraud", nulls_last=False)
    latest = again.unique("transaction_id", keep="last", maintain_order=True)
    return pl.concat([valid.filter(~repeated), latest.lazy()])


def join_labels(transactions: pl.DataFrame, labels: pl.DataFrame, as_of: date, delay: int) -> pl.DataFrame:
    """Add ``is_fraud`` and ``known_day`` where the label was known before as_of, null elsewhere; and ``labelled``.

    A label without ``labeled_at`` counts as known once ``delay`` whole days have passed after its
    transaction's day. ``labelled`` says whether there is a label at all.
    """
    known_day = pl.coalesce(pl.col("labeled_at").dt.epoch("d").cast(pl.Int32), _DAY + delay)
    known = known_day < day_number(as_of)
    labelled = pl.col("is_fraud").is_not_null()
    return transactions.join(labels, on="transaction_id", how="left", maintain_order="left").with_columns(
        labelled.alias("labelled"),
        pl.when(known & labelled).then(known_day).alias("known_day"),
        pl.when(known).then(pl.col("is_fraud")).alias("is_fraud"),
    )


def _rows(batch: Batch) -> pl.LazyFrame:
    schema, where = batch.schema, batch.files[0].where
    for column in ("transaction_id", "is_fraud"):
        if column not in schema:
            raise InputError(
                f"{where} has no column '{column}'; it has {', '.join(schema)}; rename the one that is meant"
            )
    flag, at = schema["is_fraud"], schema.get("labeled_at")
    if not (batch.is_text or flag.is_integer() or isinstance(flag, pl.Boolean)):
        raise InputError(f"{where}: column 'is_fraud' must be 0 or 1, got {flag}; write it so")
    if not (batch.is_text or at is None or isinstance(at, pl.Datetime)):
        raise InputError(f"{where}: column 'labeled_at' must be a timestamp, got {at}")
    labeled_at = values.instant(pl.col("labeled_at"), at) if at else pl.lit(None, pl.Datetime("us", "UTC"))
    unreadable = pl.col("labeled_at").is_not_null() & labeled_at.is_null() if at else pl.lit(False)
    return batch.scan().select(
        pl.col("transaction_id").cast(pl.String),
        values.flag(pl.col("is_fraud"), flag).alias("is_fraud"),
        labeled_at.alias("labeled_at"),
        unreadable.alias("unreadable_labeled_at"),
    )
