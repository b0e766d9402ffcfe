"""Training's second stage on Spark: what feature_engineering writes, of more rows than one machine holds.

Only the history passes through one machine: it is compact, and whoever reads it is one machine too.
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
from fraudline.features.feature_engineering import SPLIT, tell_periods
from fraudline.features.history import COUNTS, EVENTS, FRAUDS, History, tail_seconds
from fraudline.features.spark_engine import compute, counts_of, events_of, frauds_of
from fraudline.features.split import Split, split
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
    # Each is small beside the rows, and looked at several times.
    counts, frauds = counts_of(dataset).persist(), frauds_of(dataset).persist()
    rows, first = counts.where("entity = 'merchant'").selectExpr("sum(transactions)", "min(day)").collect()[0]
    if not rows:
        raise InputError("channel 'dataset': no rows; check the extraction's summary")
    periods = split(
        from_day_number(first),
        run.as_of,
        delay=label_delay_days,
        warmup=warmup_days,
        test=test_days,
        validation_share=validation_share,
    )
    features = compute(dataset, counts, frauds, label_delay_days)
    told = tell_periods(channels, periods, *_write(channels, features, periods))
    history = History(
        collect_table(channels, _tail(events_of(dataset), run.as_of), EVENTS),
        collect_table(channels, counts.where(f"day >= {day_number(run.as_of) - ENTITY_DAYS}"), COUNTS),
        collect_table(channels, frauds, FRAUDS),
    )
    return {
        "features": list(NAMES),
        "feature_count": len(NAMES),
        "record_count": rows,
        "periods": told,
        "history": history.publish(channels, run.as_of, label_delay_days, run.execution),
    }


def _write(channels: Channels, features: DataFrame, periods: Split) -> tuple[dict[str, int], dict[str, int]]:
    """Write the labelled rows of each period, of train those that were drawn; how many, and how many frauds."""
    columns = [*FEATURE_KEYS, *NAMES, "is_fraud"]
    chosen = features.where("is_fraud IS NOT NULL").selectExpr(*columns, "weight", f"{_period(periods)} AS period")
    chosen = chosen.where("period <> 'train' OR weight > 0").persist()
    for name in SPLIT:
        weight = "weight" if name == "train" else "1F AS weight"
        chosen.where(f"period = '{name}'").selectExpr(*columns, weight).write.parquet(
            channels.direct(name), mode="overwrite", compression="zstd"
        )
    counted = chosen.groupBy("period").agg({"*": "count", "is_fraud": "sum"}).collect()
    chosen.unpersist()
    rows, frauds = dict.fromkeys(SPLIT, 0), dict.fromkeys(SPLIT, 0)
    for row in counted:
        rows[row["period"]], frauds[row["period"]] = row["count(1)"], row["sum(is_fraud)"]
    return rows, frauds


def _period(periods: Split) -> str:
    """The name of the period that a row's day lies in, null for none, as SQL."""
    day = f"unix_seconds(timestamp) div {DAY}"
    days = {name: (getattr(periods, name).first, getattr(periods, name).end) for name in SPLIT}
    cases = (
        f"WHEN {day} >= {day_number(first)} AND {day} < {day_number(end)} THEN '{name}'"
        for name, (first, end) in days.items()
    )
    return f"CASE {' '.join(cases)} END"


def _tail(events: DataFrame, day: date) -> DataFrame:
    """The events before ``day`` that its features and later ones can still see."""
    first, end = tail_seconds(day)
    return events.where(f"second >= {first} AND second < {end}")
