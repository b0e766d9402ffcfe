"""Validate one day's transactions, and collect the labels known by as_of; the first stage of the daily workflow."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fraudline.catalog.days import RISK_HISTORY_DAYS
from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.schema import LABELS
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.data_extraction import first_records
from fraudline.etl.files import naming_broken_files
from fraudline.etl.labels import broken_labels, join_labels, latest_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import count_rejected, sink_rejected
from fraudline.etl.validation import repeated_ids, validate
from fraudline.runtime.channels import Channels


def run(
    channels: Channels, run: Run, label_delay_days: int, column: Sequence[tuple[str, str]], max_rejected: float
) -> Summary:
    """Write the day's ``transactions`` and ``rejected`` rows, and the ``labels`` known by as_of.

    Raises:
        InputError: the input is missing or broken, too many rows are rejected, or the day has no valid transaction.
    """
    days = days_before(run.as_of, RISK_HISTORY_DAYS)
    raw, labels = read_days(channels, days, dict(column)), read_labels(channels)
    with naming_broken_files(raw, labels):
        # Earlier days are validated again, because a row that was rejected on its own day must not get a label today.
        validated = validate(raw.rows, repeated_ids(raw.rows))
        on_day = pl.col("timestamp").dt.date() == run.day
        # Collected together, so that the files are read only once.
        valid, transactions, latest, label_rows, broken, _ = pl.collect_all(
            [
                validated.valid.select("transaction_id", "merchant", "merchant_category", "timestamp"),
                validated.valid.filter(on_day).sort("timestamp", "transaction_id"),
                latest_labels(labels.rows, repeated_ids(labels.rows), run.as_of),
                labels.rows.select(pl.len()),
                validated.rejected.filter(pl.col("partition") == run.day),
                sink_rejected(channels, broken_labels(labels.rows), "labels"),
            ],
            engine="streaming",
        )
    # Rejected rows of earlier days are not reported again: the runs of those days did.
    sink_rejected(channels, broken.lazy(), "raw").collect()
    rejected = count_rejected(channels, "raw", transactions.height + broken.height, max_rejected)
    if not transactions.height:
        raise InputError(f"channel 'raw': {run.day} has no valid transaction; check that the day was delivered in full")
    rejected_labels = count_rejected(channels, "labels", label_rows.item(), max_rejected)
    known = _known_labels(valid, latest, run, label_delay_days)
    channels.write("transactions", transactions)
    channels.write("labels", known)
    return {
        "transactions": first_records(transactions),
        "date": run.day.isoformat(),
        "record_count": transactions.height,
        "rejected": rejected.reasons,
        "rejected_labels": rejected_labels.reasons,
        WATCHED: {"rejected_share": rejected.share},
        "copies_collapsed": validated.copies,
        "labels_known": known.height,
    }


def _known_labels(transactions: pl.DataFrame, latest: pl.DataFrame, run: Run, label_delay_days: int) -> pl.DataFrame:
    """Return the labels known by as_of, with merchant, category and day of their transactions (schema LABELS)."""
    joined = join_labels(transactions, latest, run.as_of, label_delay_days)
    day = pl.col("timestamp").dt.epoch("d").cast(pl.Int32).alias("day")
    return joined.filter(pl.col("known_day").is_not_null()).with_columns(day).select(*LABELS)
