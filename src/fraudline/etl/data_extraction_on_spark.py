"""Training's first stage on Spark: what data_extraction writes, of a delivery that no one machine holds.

Rows move between machines once by their id, to meet their copies and their label, and once into folders of customers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from fraudline.catalog.days import DAY, day_number
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET, REJECTED, TRANSACTIONS
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.etl.data_extraction import FIRST, check_matched, months_before, summary_of
from fraudline.etl.dataset import folder_count
from fraudline.etl.deliveries_on_spark import broken_files_named, read_days, read_labels
from fraudline.etl.raw import days_before
from fraudline.etl.rejected import tolerated
from fraudline.etl.rules import LABEL_RULES, RAW_RULES, Rule
from fraudline.runtime.channels import Channels
from fraudline.runtime.spark_tables import TYPES, collect_table, shared_folder


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
    """Write ``dataset`` (schema DATASET, in folders of customers) and ``rejected``."""
    days = days_before(run.as_of, (run.as_of - months_before(run.as_of, months)).days)
    with shared_folder(channels, "text") as place:
        raw = read_days(spark, channels, days, dict(column), f"{place}/raw")
        labels = read_labels(spark, channels, f"{place}/labels")
        with broken_files_named(spark, raw, labels):
            return _extracted(channels, raw.rows, labels.rows, run.as_of, days, label_delay_days, max_rejected, sample)


def _extracted(
    channels: Channels,
    raw: DataFrame,
    labels: DataFrame,
    as_of: date,
    days: Sequence[date],
    label_delay_days: int,
    max_rejected: float,
    sample: float,
) -> Summary:
    rows, label_rows = raw.count(), labels.count()
    judged = _judged(_settled(raw), RAW_RULES).persist()
    judged_labels = _judged(labels, LABEL_RULES)
    rejected = _write_rejected(channels, {"raw": judged, "labels": judged_labels})
    told = {
        name: tolerated(name, *rejected.get(name, ({}, 0)), total, max_rejected)
        for name, total in (("raw", rows), ("labels", label_rows))
    }
    known = _latest(judged_labels.where("reasons IS NULL"), as_of).persist()
    dataset = _joined(judged.where("reasons IS NULL"), known, as_of, label_delay_days, sample).persist()
    _write_folders(channels, dataset, folder_count(rows))
    known_labels, matched = known.count(), dataset.where("labelled").count()
    if dataset.isEmpty():
        channels.write("dataset", pl.DataFrame(schema=dict(DATASET)))
    else:
        check_matched(matched, known_labels, days)
    return {
        **_summary(channels, dataset),
        "rejected": told["raw"].reasons,
        "rejected_labels": told["labels"].reasons,
        WATCHED: {"rejected_share": told["raw"].share},
        "copies_collapsed": rows - judged.count(),
        "labels_without_transaction": known_labels - matched,
        "folders": folder_count(rows),
        "sample": sample,
    }


def _settled(rows: DataFrame) -> DataFrame:
    """Identical copies of an id collapsed, wherever they lie, and ``contradicting``: whether others bear the id."""
    # Of copies that lie in several days the one in its own day stays.
    best = "CAST(timestamp AS DATE) = partition DESC, partition, amount"
    number = f"row_number() OVER (PARTITION BY {', '.join(TRANSACTIONS)} ORDER BY {best}) AS copy"
    distinct = rows.where("transaction_id IS NOT NULL").repartition("transaction_id").selectExpr("*", number)
    same = "count(1) OVER (PARTITION BY transaction_id) > 1 AS contradicting"
    settled = distinct.where("copy = 1").drop("copy").selectExpr("*", same)
    return settled.unionByName(rows.where("transaction_id IS NULL").selectExpr("*", "false AS contradicting"))


def _judged(rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Rows with the names of all rules that each breaks as ``reasons``, null for a good one."""
    names = ", ".join(f"if({rule.broken}, '{rule.name}', NULL)" for rule in rules)
    return rows.selectExpr("*", f"array_compact(array({names})) AS broken").selectExpr(
        "*", "if(size(broken) > 0, broken, NULL) AS reasons"
    )


def _write_rejected(channels: Channels, judged: dict[str, DataFrame]) -> dict[str, tuple[dict[str, int], int]]:
    """Write the broken rows of each channel; how many there are by reason, and of how many rows."""
    found = {}
    types = TYPES | {pl.Date(): "date", pl.List(pl.String): "array<string>"}
    for mode, (name, rows) in zip(("overwrite", "append"), judged.items(), strict=True):
        broken = rows.where("reasons IS NOT NULL")
        columns = (
            f"CAST({column if column in rows.columns else 'NULL'} AS {types[dtype]}) AS {column}"
            for column, dtype in pl.Schema(REJECTED).items()
            if column != "channel"
        )
        table = broken.selectExpr(f"'{name}' AS channel", *columns).coalesce(1)
        table.write.parquet(channels.direct("rejected"), mode=mode, compression="zstd")
        counted = broken.select(F.explode("reasons").alias("reason")).groupBy("reason").count().collect()
        found[name] = {row["reason"]: row["count"] for row in counted}, broken.count()
    return found


def _latest(labels: DataFrame, as_of: date) -> DataFrame:
    """One label an id: the latest that is from before as_of, and of two at once the one that says fraud."""
    made = f"labeled_at IS NULL OR unix_micros(labeled_at) < {day_number(as_of) * DAY} * 1000000L"
    order = "PARTITION BY transaction_id ORDER BY labeled_at DESC NULLS LAST, is_fraud DESC"
    numbered = labels.where(made).selectExpr("*", f"row_number() OVER ({order}) AS copy")
    return numbered.where("copy = 1").selectExpr(
        "transaction_id", "CAST(is_fraud AS tinyint) AS is_fraud", "labeled_at"
    )


def _joined(rows: DataFrame, labels: DataFrame, as_of: date, delay: int, sample: float) -> DataFrame:
    """Rows with ``is_fraud`` and ``known_day`` where the label was known before as_of, ``weight`` and ``labelled``."""
    known_day = (
        f"int(coalesce(unix_seconds(labeled_at) div {DAY}, unix_seconds(timestamp) div {DAY} + {delay})) AS known_day"
    )
    joined = rows.select(*TRANSACTIONS).join(labels, "transaction_id", "left").selectExpr("*", known_day)
    known = f"known_day < {day_number(as_of)} AND is_fraud IS NOT NULL"
    told = joined.selectExpr(
        *TRANSACTIONS,
        f"if({known}, known_day, NULL) AS known_day",
        f"if({known}, is_fraud, NULL) AS is_fraud",
        "is_fraud IS NOT NULL AS labelled",
    )
    kept = f"crc32(transaction_id) < {sample * 2**32!r}D"
    weight = f"CASE WHEN is_fraud <=> 1 THEN 1D WHEN {kept} THEN {1 / sample!r}D ELSE 0D END"
    return told.selectExpr("*", f"float({weight if sample < 1 else '1D'}) AS weight")


def _write_folders(channels: Channels, dataset: DataFrame, folders: int) -> None:
    """Write rows below their customers' folders, as the image's dataset has them."""
    number = f"format_string('%03d', crc32(customer_id) % {folders}) AS customers"
    placed = dataset.selectExpr(*DATASET, number).repartition("customers")
    placed.write.partitionBy("customers").parquet(channels.direct("dataset"), mode="overwrite", compression="zstd")


def _summary(channels: Channels, dataset: DataFrame) -> Summary:
    counted = dataset.selectExpr(
        "count(1) AS record_count",
        "count(is_fraud) AS labelled_count",
        "coalesce(sum(is_fraud), 0) AS fraud_count",
        "count_if(weight > 0) AS sampled_count",
    )
    first = collect_table(
        channels, dataset.select(*DATASET).orderBy("timestamp", "transaction_id").limit(FIRST), DATASET
    )
    return summary_of(first.sort("timestamp", "transaction_id"), counted.collect()[0].asDict())
