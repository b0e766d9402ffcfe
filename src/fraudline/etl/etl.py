"""The daily line's first stage: one day's transactions, and the labels that are known by now."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fraudline.catalog.days import RISK_HISTORY_DAYS
from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.schema import LABELS
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.data_extraction import first_records
from fraudline.etl.files import broken_files_named
from fraudline.etl.judge import judge, repeated_ids
from fraudline.etl.labels import broken_labels, join_labels, latest_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import count_rejected, sink_rejected
from fraudline.runtime.channels import Channels


def run(
    channels: Channels, run: Run, label_delay_days: int, column: Sequence[tuple[str, str]], max_rejected: float
) -> Summary:
    """Write the day's ``transactions``, its ``rejected`` rows, and the ``labels`` known by as_of."""
    day = run.day
    raw, labels = read_days(channels, days_before(run.as_of, RISK_HISTORY_DAYS), dict(column)), read_labels(channels)
    with broken_files_named(raw, labels):
        # The earlier days pass the same rules again: what was rejected then must not lend its label now.
        judged = judge(raw.rows, repeated_ids(raw.rows))
        of_day = pl.col("timestamp").dt.date() == day
        valid, transactions, latest, label_rows, broken, _ = pl.collect_all(
            [
                judged.valid.select("transaction_id", "merchant", "merchant_category", "timestamp"),
                judged.valid.filter(of_day).sort("timestamp", "transaction_id"),
                latest_labels(labels.rows, repeated_ids(labels.rows), run.as_of),
                labels.rows.select(pl.len()),
                judged.rejected.filter(pl.col("partition") == day),
                sink_rejected(channels, broken_labels(labels.rows), "labels"),
            ],
            engine="streaming",
        )
    known = (
        join_labels(valid, latest, run.as_of, label_delay_days)
        .filter(pl.col("known_day").is_not_null())
        .with_columns(pl.col("timestamp").dt.epoch("d").cast(pl.Int32).alias("day"))
        .select(*LABELS)
    )
    sink_rejected(channels, broken.lazy(), "raw").collect()
    rejected = count_rejected(channels, "raw", transactions.height + broken.height, max_rejected)
    if not transactions.height:
        raise InputError(f"channel 'raw': {day} has no valid transaction; check that the day was delivered whole")
    rejected_labels = count_rejected(channels, "labels", label_rows.item(), max_rejected)
    channels.write("transactions", transactions)
    channels.write("labels", known)
    return {
        "transactions": first_records(transactions),
        "date": day.isoformat(),
        "record_count": transactions.height,
        "rejected": rejected.reasons,
        "rejected_labels": rejected_labels.reasons,
        WATCHED: {"rejected_share": rejected.share},
        "copies_collapsed": judged.copies,
        "labels_known": known.height,
    }
