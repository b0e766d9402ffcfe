"""Compute on Spark what feature_engineering computes, for datasets that are too large for one computer.

Only the history passes through the driver: it is compact, and the daily run reads it on one computer as well.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, SparkSession

from fraudline.catalog.days import DAY, day_number, from_day_number
from fraudline.catalog.errors import InputError
from fraudline.catalog.features import ENTITY_DAYS, NAMES
from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET, FEATURE_KEYS
from fraudline.catalog.stage import Summary
from fraudline.features.feature_engineering import write_contracts
from fraudline.features.history import COUNTS, EVENTS, FRAUDS, History, tail_seconds
from fraudline.features.spark_engine import compute, counts_of, events_of, frauds_of
from fraudline.features.split import Split, split_days
from fraudline.runtime.channels import Channels
from fraudline.runtime.spark_tables import collect_table, read_table


def run(
    spark: SparkSession,
    channels: Channels,
    run: Run,
    label_delay_days: int,
    warmup_days: int,
    test_days: int,
    validation_share: float,
) -> Summary:
    """Write ``train``, ``validation``, ``test`` (keys, features, is_fraud, weight) and publish ``history``."""
    dataset = read_table(spark, channels, "dataset", DATASET)
    # Both are small compared with the rows, and are read several times.
    counts, frauds = counts_of(dataset).persist(), frauds_of(dataset).persist()
    rows, first = counts.where("entity = 'merchant'").selectExpr("sum(transactions)", "min(day)").collect()[0]
    if not rows:
        raise InputError("channel 'dataset': no rows; check the extraction's summary")
    split = split_days(
        from_day_number(first),
        run.as_of,
        delay=label_delay_days,
        warmup=warmup_days,
        test=test_days,
        validation_share=validation_share,
    )
    features = compute(dataset, counts, frauds, label_delay_days)
    written = write_contracts(channels, split, *_write(channels, features, split))
    history = History(
        collect_table(channels, _tail(events_of(dataset), run.as_of), EVENTS),
        collect_table(channels, counts.where(f"day >= {day_number(run.as_of) - ENTITY_DAYS}"), COUNTS),
        collect_table(channels, frauds, FRAUDS),
    )
    return {
        "features": list(NAMES),
        "feature_count": len(NAMES),
        "record_count": rows,
        "periods": written,
        "history": history.publish(channels, run.as_of, label_delay_days, run.execution),
    }


def _write(channels: Channels, features: DataFrame, split: Split) -> tuple[dict[str, int], dict[str, int]]:
    """Write the labeled rows of each period; in train, only the sampled ones.

    Returns:
        The number of rows and the number of frauds, by channel.
    """
    columns = [*FEATURE_KEYS, *NAMES, "is_fraud"]
    labeled = features.where("is_fraud IS NOT NULL").selectExpr(*columns, "weight", f"{_period(split)} AS period")
    # Persisted, because three tables and their counts are read from it.
    labeled = labeled.where("period <> 'train' OR weight > 0").persist()
    for name in split.periods:
        weight = "weight" if name == "train" else "1F AS weight"
        labeled.where(f"period = '{name}'").selectExpr(*columns, weight).write.parquet(
            channels.direct_output(name), mode="overwrite", compression="zstd"
        )
    totals = labeled.groupBy("period").agg({"*": "count", "is_fraud": "sum"}).collect()
    labeled.unpersist()
    rows, frauds = dict.fromkeys(split.periods, 0), dict.fromkeys(split.periods, 0)
    for total in totals:
        rows[total["period"]], frauds[total["period"]] = total["count(1)"], total["sum(is_fraud)"]
    return rows, frauds


def _period(split: Split) -> str:
    """Return SQL for the name of the period that contains a row's day, null if there is none."""
    day = f"unix_seconds(timestamp) div {DAY}"
    cases = (
        f"WHEN {day} >= {day_number(period.first)} AND {day} < {day_number(period.end)} THEN '{name}'"
        for name, period in split.periods.items()
    )
    return f"CASE {' '.join(cases)} END"


def _tail(events: DataFrame, day: date) -> DataFrame:
    """Return the events before ``day`` that features of ``day`` and later can still see."""
    first, end = tail_seconds(day)
    return events.where(f"second >= {first} AND second < {end}")
