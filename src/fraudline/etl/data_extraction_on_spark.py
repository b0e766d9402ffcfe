"""Extract the dataset on Spark: write what data_extraction writes, from deliveries too large for one computer.

Rows are shuffled twice: by id, which brings them together with their copies and labels, and by folder of customers,
for writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from fraudline.catalog.days import DAY, day_number
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET, REJECTED, TRANSACTIONS
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.data_extraction import SUMMARY_RECORDS, check_matched, dataset_summary, months_before
from fraudline.etl.dataset import folder_count
from fraudline.etl.deliveries_on_spark import naming_broken_files, read_days, read_labels
from fraudline.etl.raw import days_before
from fraudline.etl.rejected import check_rejected
from fraudline.etl.rules import LABEL_RULES, RAW_RULES, Rule
from fraudline.runtime.channels import Channels
from fraudline.runtime.spark_tables import TYPES, collect_table, shared_folder

_VALID, _BROKEN = "reasons IS NULL", "reasons IS NOT NULL"


def run(
    spark: SparkSession,
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
    with shared_folder(channels, "text") as shared:
        raw = read_days(spark, channels, days, dict(column), f"{shared}/raw")
        labels = read_labels(spark, channels, f"{shared}/labels")
        with naming_broken_files(spark, raw, labels):
            extraction = Extraction(channels, run.as_of, days, label_delay_days, max_rejected, sample)
            return extraction.write(raw.rows, labels.rows)


@dataclass(frozen=True)
class Extraction:
    """The settings of one extraction."""

    channels: Channels
    as_of: date
    days: Sequence[date]
    label_delay_days: int
    max_rejected: float
    sample: float

    def write(self, raw: DataFrame, labels: DataFrame) -> Summary:
        """Write the ``dataset`` and the ``rejected`` rows."""
        rows, label_rows = raw.count(), labels.count()
        # Persisted, because each action below would read the files and shuffle the rows again.
        validated = _with_reasons(_collapse_copies(raw), RAW_RULES).persist()
        validated_labels = _with_reasons(labels, LABEL_RULES)
        _write_rejected(self.channels, {"raw": validated, "labels": validated_labels})
        rejected = check_rejected("raw", *_count_rejected(validated), rows, self.max_rejected)
        rejected_labels = check_rejected("labels", *_count_rejected(validated_labels), label_rows, self.max_rejected)
        latest = _latest_labels(validated_labels.where(_VALID), self.as_of).persist()
        joined = _join_labels(validated.where(_VALID), latest, self.as_of, self.label_delay_days)
        dataset = joined.selectExpr("*", f"{_sampling_weight(self.sample)} AS weight").persist()
        _write_folders(self.channels, dataset, folder_count(rows))
        valid_labels, matched = latest.count(), dataset.where("has_label").count()
        if dataset.isEmpty():
            self.channels.write("dataset", pl.DataFrame(schema=dict(DATASET)))
        else:
            check_matched(matched, valid_labels, self.days)
        return {
            **_summarize(self.channels, dataset),
            "rejected": rejected.reasons,
            "rejected_labels": rejected_labels.reasons,
            WATCHED: {"rejected_share": rejected.share},
            "copies_collapsed": rows - validated.count(),
            "labels_without_transaction": valid_labels - matched,
            "folders": folder_count(rows),
            "sample": self.sample,
        }


def _collapse_copies(rows: DataFrame) -> DataFrame:
    """Collapse identical copies of an id, and add ``contradicting``: True if different rows have the same id."""
    # If folders of several days have copies, keep the copy in its own day.
    best = "CAST(timestamp AS DATE) = partition DESC, partition, amount"
    number = f"row_number() OVER (PARTITION BY {', '.join(TRANSACTIONS)} ORDER BY {best}) AS copy"
    # This shuffle also serves the comparison of ids below and the join with labels.
    numbered = rows.where("transaction_id IS NOT NULL").repartition("transaction_id").selectExpr("*", number)
    contradicting = "count(1) OVER (PARTITION BY transaction_id) > 1 AS contradicting"
    distinct = numbered.where("copy = 1").drop("copy").selectExpr("*", contradicting)
    without_id = rows.where("transaction_id IS NULL").selectExpr("*", "false AS contradicting")
    return distinct.unionByName(without_id)


def _with_reasons(rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Add ``reasons``: the names of all rules that a row breaks, null for a valid row."""
    names = ", ".join(f"if({rule.broken}, '{rule.name}', NULL)" for rule in rules)
    return rows.selectExpr("*", f"array_compact(array({names})) AS broken").selectExpr(
        "*", "if(size(broken) > 0, broken, NULL) AS reasons"
    )


def _write_rejected(channels: Channels, validated: dict[str, DataFrame]) -> None:
    """Write the broken rows of each channel (schema REJECTED)."""
    types = TYPES | {pl.Date(): "date", pl.List(pl.String): "array<string>"}
    # The first write removes what an earlier run left; the second adds to it.
    for mode, (channel, rows) in zip(("overwrite", "append"), validated.items(), strict=True):
        columns = (
            f"CAST({column if column in rows.columns else 'NULL'} AS {types[dtype]}) AS {column}"
            for column, dtype in pl.Schema(REJECTED).items()
            if column != "channel"
        )
        table = rows.where(_BROKEN).selectExpr(f"'{channel}' AS channel", *columns).coalesce(1)
        table.write.parquet(channels.direct_output("rejected"), mode=mode, compression="zstd")


def _count_rejected(validated: DataFrame) -> tuple[dict[str, int], int]:
    """Return the number of broken rows by reason, and in total; a row may have several reasons."""
    broken = validated.where(_BROKEN)
    counts = broken.select(F.explode("reasons").alias("reason")).groupBy("reason").count().collect()
    return {row["reason"]: row["count"] for row in counts}, broken.count()


def _latest_labels(labels: DataFrame, as_of: date) -> DataFrame:
    """Return one label per id: the latest before as_of; among simultaneous labels, fraud wins."""
    visible = f"labeled_at IS NULL OR unix_micros(labeled_at) < {day_number(as_of) * DAY} * 1000000L"
    order = "PARTITION BY transaction_id ORDER BY labeled_at DESC NULLS LAST, is_fraud DESC"
    numbered = labels.where(visible).selectExpr("*", f"row_number() OVER ({order}) AS copy")
    return numbered.where("copy = 1").selectExpr(
        "transaction_id", "CAST(is_fraud AS tinyint) AS is_fraud", "labeled_at"
    )


def _join_labels(rows: DataFrame, labels: DataFrame, as_of: date, delay: int) -> DataFrame:
    """Add ``is_fraud`` and ``known_day``, null unless the label was known before as_of, and ``has_label``."""
    known_day = (
        f"int(coalesce(unix_seconds(labeled_at) div {DAY}, unix_seconds(timestamp) div {DAY} + {delay})) AS known_day"
    )
    joined = rows.select(*TRANSACTIONS).join(labels, "transaction_id", "left").selectExpr("*", known_day)
    known = f"known_day < {day_number(as_of)} AND is_fraud IS NOT NULL"
    return joined.selectExpr(
        *TRANSACTIONS,
        f"if({known}, known_day, NULL) AS known_day",
        f"if({known}, is_fraud, NULL) AS is_fraud",
        "is_fraud IS NOT NULL AS has_label",
    )


def _sampling_weight(sample: float) -> str:
    """Return SQL for the weight of each row, equal to ``etl.dataset.sampling_weight``."""
    if sample == 1:
        return "float(1D)"
    sampled = f"crc32(transaction_id) < {sample * 2**32!r}D"
    return f"float(CASE WHEN is_fraud <=> 1 THEN 1D WHEN {sampled} THEN {1 / sample!r}D ELSE 0D END)"


def _write_folders(channels: Channels, dataset: DataFrame, folders: int) -> None:
    """Write rows into the folders of their customers, in the layout of ``etl.dataset.sink_folders``."""
    number = f"format_string('%03d', crc32(customer_id) % {folders}) AS customers"
    assigned = dataset.selectExpr(*DATASET, number).repartition("customers")
    assigned.write.partitionBy("customers").parquet(
        channels.direct_output("dataset"), mode="overwrite", compression="zstd"
    )


def _summarize(channels: Channels, dataset: DataFrame) -> Summary:
    counts = dataset.selectExpr(
        "count(1) AS record_count",
        "count(is_fraud) AS labelled_count",
        "coalesce(sum(is_fraud), 0) AS fraud_count",
        "count_if(weight > 0) AS sampled_count",
    )
    ordered = dataset.select(*DATASET).orderBy("timestamp", "transaction_id")
    # Sorted again, because the rows come back through files, whose order is not defined.
    earliest = collect_table(channels, ordered.limit(SUMMARY_RECORDS), DATASET).sort("timestamp", "transaction_id")
    return dataset_summary(earliest, counts.collect()[0].asDict())
