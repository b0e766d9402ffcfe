"""Read fraud labels, and join those that were known by as_of with their transactions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from fraudline.catalog.days import day_number, midnight
from fraudline.catalog.errors import InputError
from fraudline.etl import values
from fraudline.etl.files import PATTERNS, Batch, Delivery, File, find_files, group_files
from fraudline.etl.rules import LABEL_RULES, is_broken, reasons
from fraudline.runtime.channels import Channels

_DAY = pl.col("timestamp").dt.epoch("d").cast(pl.Int32)
_COLUMNS = {"transaction_id": True, "is_fraud": True, "labeled_at": False}  # True: required


def read_labels(channels: Channels) -> Delivery:
    """Read all labels.

    Returns:
        The columns transaction_id, is_fraud, labeled_at (null if unknown), and unreadable_labeled_at.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    folder = channels.folder("labels")
    files = find_files(folder, "labels", folder)
    if not files:
        raise no_labels_error(channels)
    return read_files(files)


def read_files(files: Sequence[File]) -> Delivery:
    """Read the labels of files, with the columns of ``read_labels``.

    Raises:
        InputError: a file is broken, or a column is missing or of a wrong type.
    """
    batches = group_files(files, _COLUMNS)
    return Delivery(pl.concat([_read_batch(batch) for batch in batches]), batches)


def no_labels_error(channels: Channels) -> InputError:
    """Return the error to raise if the channel has no label files."""
    return InputError(
        f"channel 'labels': no {PATTERNS} in '{channels.location('labels')}'; check the job that delivers labels"
    )


def broken_labels(labels: pl.LazyFrame) -> pl.LazyFrame:
    """Return the labels that break a rule, with all their ``reasons``."""
    return labels.filter(is_broken(LABEL_RULES)).with_columns(reasons(LABEL_RULES))


def latest_labels(labels: pl.LazyFrame, repeated: pl.Expr, as_of: date) -> pl.LazyFrame:
    """Return one valid label per id: the latest before as_of; among simultaneous labels, fraud wins.

    Args:
        labels: the columns of ``read_labels``, with all labels of each id.
        repeated: the ``repeated_ids`` of these labels, or of a superset.
        as_of: labels from this day's midnight on are not visible.
    """
    visible = pl.col("labeled_at").is_null() | (pl.col("labeled_at") < midnight(as_of))
    valid = labels.filter(~is_broken(LABEL_RULES), visible).select(
        "transaction_id", pl.col("is_fraud").cast(pl.Int8), "labeled_at"
    )
    # Labels without a time come first, so that a later one with a time replaces them.
    candidates = valid.filter(repeated).collect(engine="streaming").sort("labeled_at", "is_fraud", nulls_last=False)
    latest = candidates.unique("transaction_id", keep="last", maintain_order=True)
    return pl.concat([valid.filter(~repeated), latest.lazy()])


def join_labels(transactions: pl.DataFrame, labels: pl.DataFrame, as_of: date, delay: int) -> pl.DataFrame:
    """Add ``is_fraud`` and ``known_day``, null unless the label was known before as_of, and ``has_label``.

    A label without ``labeled_at`` becomes known when ``delay`` whole days have passed after its transaction's day.
    ``has_label`` is True if ``labels`` has the id, whether or not the label was known.

    Args:
        transactions: rows with ``transaction_id`` and ``timestamp``.
        labels: one row per id, from ``latest_labels``.
        as_of: only labels from earlier days are known.
        delay: the label delay in days.
    """
    known_day = pl.coalesce(pl.col("labeled_at").dt.epoch("d").cast(pl.Int32), _DAY + delay)
    known = known_day < day_number(as_of)
    has_label = pl.col("is_fraud").is_not_null()
    return transactions.join(labels, on="transaction_id", how="left", maintain_order="left").with_columns(
        has_label.alias("has_label"),
        pl.when(known & has_label).then(known_day).alias("known_day"),
        pl.when(known).then(pl.col("is_fraud")).alias("is_fraud"),
    )


def _read_batch(batch: Batch) -> pl.LazyFrame:
    _check_columns(batch)
    flag, time = batch.schema["is_fraud"], batch.schema.get("labeled_at")
    labeled_at, unreadable = pl.lit(None, pl.Datetime("us", "UTC")), pl.lit(False)
    if time:
        labeled_at = values.instant(pl.col("labeled_at"), time)
        unreadable = pl.col("labeled_at").is_not_null() & labeled_at.is_null()
    return batch.scan().select(
        pl.col("transaction_id").cast(pl.String),
        values.flag(pl.col("is_fraud"), flag).alias("is_fraud"),
        labeled_at.alias("labeled_at"),
        unreadable.alias("unreadable_labeled_at"),
    )


def _check_columns(batch: Batch) -> None:
    schema, where = batch.schema, batch.files[0].where
    for column in (name for name, required in _COLUMNS.items() if required):
        if column not in schema:
            raise InputError(
                f"{where} has no column '{column}'; it has {', '.join(schema)}; rename the column that holds it"
            )
    if batch.is_text:
        return
    flag, time = schema["is_fraud"], schema.get("labeled_at")
    if not (flag.is_integer() or isinstance(flag, pl.Boolean)):
        raise InputError(f"{where}: column 'is_fraud' must be 0 or 1, got {flag}; write it as 0 or 1")
    if not (time is None or isinstance(time, pl.Datetime)):
        raise InputError(f"{where}: column 'labeled_at' must be a timestamp, got {time}; write it as a timestamp")
