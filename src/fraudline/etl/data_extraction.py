"""Training's first stage: months of transactions, joined with the labels known by as_of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import ceil
from typing import Any

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.dataset import folder_count, folders_of, scan_dataset, sink_folders, weight
from fraudline.etl.files import broken_files_named
from fraudline.etl.judge import id_slice, judge, repeated_ids
from fraudline.etl.labels import broken_labels, join_labels, latest_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import count_rejected, sink_rejected
from fraudline.runtime.channels import Channels

# Labels are joined so many rows at a time: what is in memory does not grow with the months.
SLICE_ROWS = 3_000_000
FIRST = 20


def run(
    channels: Channels,
    run: Run,
    months: int,
    label_delay_days: int,
    column: Sequence[tuple[str, str]],
    max_rejected: float,
    sample: float,
) -> Summary:
    """Write ``dataset`` (schema DATASET, in folders of customers) and ``rejected``."""
    days = days_before(run.as_of, (run.as_of - months_before(run.as_of, months)).days)
    raw, labels = read_days(channels, days, dict(column)), read_labels(channels)
    with broken_files_named(raw, labels):
        customers = raw.rows.group_by("customer_id").len().collect(engine="streaming")
        rows = int(customers.get_column("len").sum())
        label_rows = int(labels.rows.select(pl.len()).collect(engine="streaming").item())
        folders = folders_of(customers.get_column("customer_id").drop_nulls().sort(), rows)
        place = channels.output("dataset")
        slices = max(1, ceil(max(rows, label_rows) / SLICE_ROWS))
        repeated, relabelled = repeated_ids(raw.rows), repeated_ids(labels.rows)
        copies, matched, known_labels = 0, 0, 0
        for number in range(slices):
            judged = judge(raw.rows.filter(id_slice(number, slices)), repeated)
            theirs = labels.rows.filter(id_slice(number, slices))
            valid, known, *_ = pl.collect_all(
                [
                    judged.valid,
                    latest_labels(theirs, relabelled, run.as_of),
                    sink_rejected(channels, judged.rejected, "raw", number),
                    sink_rejected(channels, broken_labels(theirs), "labels", number),
                ],
                engine="streaming",
            )
            joined = join_labels(valid, known, run.as_of, label_delay_days)
            dataset = joined.lazy().with_columns(weight(sample).alias("weight")).select(*DATASET)
            sink_folders(dataset, folders, place, number).collect(engine="streaming")
            copies += judged.copies
            matched += int(joined.get_column("labelled").sum())
            known_labels += known.height
    rejected = count_rejected(channels, "raw", rows, max_rejected)
    rejected_labels = count_rejected(channels, "labels", label_rows, max_rejected)
    if not any(place.iterdir()):
        channels.write("dataset", pl.DataFrame(schema=dict(DATASET)))
    else:
        check_matched(matched, known_labels, days)
    return {
        **summarise(scan_dataset(place)),
        "rejected": rejected.reasons,
        "rejected_labels": rejected_labels.reasons,
        WATCHED: {"rejected_share": rejected.share},
        "copies_collapsed": copies,
        "labels_without_transaction": known_labels - matched,
        "folders": folder_count(rows),
        "sample": sample,
    }


def check_matched(matched: int, labels: int, days: Sequence[date]) -> None:
    """Refuse labels of which none belongs to a transaction.

    Raises:
        InputError: that is so.
    """
    if labels and not matched:
        raise InputError(
            f"channel 'labels': none of {labels} labels belongs to a transaction from {days[0]} to "
            f"{days[-1]}; check that raw and labels use the same transaction_id"
        )


def months_before(day: date, months: int) -> date:
    """The same day so many calendar months earlier, or that month's last day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (following - date(year, month + 1, 1)).days
    return date(year, month + 1, min(day.day, last))


def summarise(dataset: pl.LazyFrame) -> Summary:
    """Counts over the dataset; the fraud rate is a share of the labelled rows."""
    fraud = pl.col("is_fraud")
    counted = dataset.select(
        pl.len().alias("record_count"),
        fraud.count().alias("labelled_count"),
        fraud.cast(pl.Int64).sum().alias("fraud_count"),
        (pl.col("weight") > 0).sum().alias("sampled_count"),
    )
    first = dataset.sort("timestamp", "transaction_id").head(FIRST)
    counts, earliest = pl.collect_all([counted, first], engine="streaming")
    return summary_of(earliest, counts.row(0, named=True))


def summary_of(earliest: pl.DataFrame, numbers: Mapping[str, int]) -> Summary:
    """What a summary says of a dataset: its earliest rows, its counts and the share of frauds."""
    labelled = numbers["labelled_count"]
    return {
        "transactions": first_records(earliest),
        **numbers,
        "fraud_rate": numbers["fraud_count"] / labelled if labelled else None,
    }


def first_records(dataset: pl.DataFrame) -> list[dict[str, Any]]:
    """The first 20 transactions, as a summary shows them."""
    columns = [
        "transaction_id",
        (pl.col("cents") / 100).round(2).alias("amount"),
        "merchant",
        pl.col("timestamp").cast(pl.String),
    ]
    if "is_fraud" in dataset.columns:
        columns.append("is_fraud")
    return dataset.head(FIRST).select(columns).to_dicts()
