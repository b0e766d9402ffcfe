"""Extract months of transactions for training, joined with the labels known by as_of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from typing import Any, NamedTuple

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.dataset import assign_folders, folder_count, sampling_weight, scan_dataset, sink_folders
from fraudline.etl.files import naming_broken_files
from fraudline.etl.labels import broken_labels, join_labels, latest_labels, read_labels
from fraudline.etl.raw import days_before, read_days
from fraudline.etl.rejected import count_rejected, sink_rejected
from fraudline.etl.validation import id_slice, repeated_ids, validate
from fraudline.runtime.channels import Channels

# Labels are joined in slices of about this many rows, so that memory does not grow with the months.
SLICE_ROWS = 3_000_000
SUMMARY_RECORDS = 20


class SliceCounts(NamedTuple):
    """Counts of one slice of ids.

    Attributes:
        copies: identical rows that were collapsed.
        labels: valid labels.
        matched: valid labels that belong to a transaction.
    """

    copies: int
    labels: int
    matched: int


@dataclass(frozen=True)
class Extraction:
    """The input and the settings that all slices of one extraction share."""

    channels: Channels
    rows: pl.LazyFrame
    labels: pl.LazyFrame
    repeated_rows: pl.Expr
    repeated_labels: pl.Expr
    folders: pl.DataFrame
    as_of: date
    label_delay_days: int
    sample: float

    def write_slice(self, number: int, count: int) -> SliceCounts:
        """Write the ``dataset`` and the ``rejected`` rows of one of ``count`` slices of ids."""
        validated = validate(self.rows.filter(id_slice(number, count)), self.repeated_rows)
        labels = self.labels.filter(id_slice(number, count))
        # Collected together, so that the files are read only once.
        valid, latest, *_ = pl.collect_all(
            [
                validated.valid,
                latest_labels(labels, self.repeated_labels, self.as_of),
                sink_rejected(self.channels, validated.rejected, "raw", number),
                sink_rejected(self.channels, broken_labels(labels), "labels", number),
            ],
            engine="streaming",
        )
        joined = join_labels(valid, latest, self.as_of, self.label_delay_days)
        weight = sampling_weight(self.sample).alias("weight")
        dataset = joined.lazy().with_columns(weight).select(*DATASET)
        root = self.channels.output("dataset")
        sink_folders(dataset, self.folders, root, number).collect(engine="streaming")
        return SliceCounts(validated.copies, latest.height, int(joined.get_column("has_label").sum()))


def run(
    channels: Channels,
    run: Run,
    months: int,
    label_delay_days: int,
    column: Sequence[tuple[str, str]],
    max_rejected: float,
    sample: float,
) -> Summary:
    """Write ``dataset`` (schema DATASET, in folders of customers) and ``rejected``.

    Raises:
        InputError: the input is missing or broken, or too many rows are rejected.
    """
    days = days_before(run.as_of, (run.as_of - months_before(run.as_of, months)).days)
    raw, labels = read_days(channels, days, dict(column)), read_labels(channels)
    with naming_broken_files(raw, labels):
        customers = raw.rows.group_by("customer_id").len().collect(engine="streaming")
        rows = int(customers.get_column("len").sum())
        label_rows = int(labels.rows.select(pl.len()).collect(engine="streaming").item())
        extraction = Extraction(
            channels,
            raw.rows,
            labels.rows,
            repeated_rows=repeated_ids(raw.rows),
            repeated_labels=repeated_ids(labels.rows),
            folders=assign_folders(customers.get_column("customer_id").drop_nulls().sort(), rows),
            as_of=run.as_of,
            label_delay_days=label_delay_days,
            sample=sample,
        )
        slices = max(1, ceil(max(rows, label_rows) / SLICE_ROWS))
        counts = [extraction.write_slice(number, slices) for number in range(slices)]
    rejected = count_rejected(channels, "raw", rows, max_rejected)
    rejected_labels = count_rejected(channels, "labels", label_rows, max_rejected)
    total = SliceCounts(*map(sum, zip(*counts, strict=True)))
    root = channels.output("dataset")
    if any(root.iterdir()):
        check_matched(total.matched, total.labels, days)
    else:
        channels.write("dataset", pl.DataFrame(schema=dict(DATASET)))
    return {
        **summarize(scan_dataset(root)),
        "rejected": rejected.reasons,
        "rejected_labels": rejected_labels.reasons,
        WATCHED: {"rejected_share": rejected.share},
        "copies_collapsed": total.copies,
        "labels_without_transaction": total.labels - total.matched,
        "folders": folder_count(rows),
        "sample": sample,
    }


def check_matched(matched: int, labels: int, days: Sequence[date]) -> None:
    """Check that the labels belong to these transactions.

    Raises:
        InputError: there are labels, but none of them belongs to a transaction.
    """
    if labels and not matched:
        raise InputError(
            f"channel 'labels': none of {labels} labels belongs to a transaction from {days[0]} to "
            f"{days[-1]}; check that raw and labels use the same transaction_id"
        )


def months_before(day: date, months: int) -> date:
    """Return the same day ``months`` calendar months earlier, or the last day of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    last = (following - date(year, month + 1, 1)).days
    return date(year, month + 1, min(day.day, last))


def summarize(dataset: pl.LazyFrame) -> Summary:
    """Compute the dataset's part of the summary: first transactions, counts and fraud rate."""
    fraud = pl.col("is_fraud")
    counted = dataset.select(
        pl.len().alias("record_count"),
        fraud.count().alias("labelled_count"),
        fraud.cast(pl.Int64).sum().alias("fraud_count"),
        (pl.col("weight") > 0).sum().alias("sampled_count"),
    )
    first = dataset.sort("timestamp", "transaction_id").head(SUMMARY_RECORDS)
    counts, earliest = pl.collect_all([counted, first], engine="streaming")
    return dataset_summary(earliest, counts.row(0, named=True))


def dataset_summary(earliest: pl.DataFrame, counts: Mapping[str, int]) -> Summary:
    """Return a dataset's part of the summary; the fraud rate is a share of the labeled rows.

    Args:
        earliest: the dataset's first rows by time.
        counts: ``record_count``, ``labelled_count``, ``fraud_count`` and ``sampled_count``.
    """
    labeled = counts["labelled_count"]
    return {
        "transactions": first_records(earliest),
        **counts,
        "fraud_rate": counts["fraud_count"] / labeled if labeled else None,
    }


def first_records(transactions: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the first 20 transactions in the form that summaries show."""
    columns = [
        "transaction_id",
        (pl.col("cents") / 100).round(2).alias("amount"),
        "merchant",
        pl.col("timestamp").cast(pl.String),
    ]
    if "is_fraud" in transactions.columns:
        columns.append("is_fraud")
    return transactions.head(SUMMARY_RECORDS).select(columns).to_dicts()
