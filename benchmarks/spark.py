"""Compare the Spark engine's CPU with hand-written Spark SQL for the same 25 features, on this computer.

    .venv-spark/bin/python -m benchmarks.spark --dataset FOLDER [--runs 3]

FOLDER is a dataset of `data-extraction`. Each run has its own Spark session, whose whole CPU time counts, startup
included. Outputs must be equal (distances within 2e-7). Prints Markdown: medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from fraudline.catalog.features import NAMES
from fraudline.entrypoints.glue import session
from fraudline.features.spark_engine import compute, counts_of, frauds_of

DELAY = 7
DISTANCES = [name for name in NAMES if "distance" in name or "speed" in name]

# Written in the usual way: one named window per length, sliding over the rows.
BY_HAND = """
WITH rows AS (SELECT *, unix_seconds(timestamp) AS second, int(unix_seconds(timestamp) div 86400) AS day FROM dataset),
merchant_days AS (SELECT merchant, day, count(*) AS n FROM rows GROUP BY merchant, day),
merchant_volume AS (
  SELECT merchant, day,
    coalesce(sum(n) OVER (PARTITION BY merchant ORDER BY day RANGE BETWEEN 37 PRECEDING AND 8 PRECEDING), 0) AS n30,
    coalesce(sum(n) OVER (PARTITION BY merchant ORDER BY day RANGE BETWEEN 14 PRECEDING AND 8 PRECEDING), 0) AS n7
  FROM merchant_days),
merchant_frauds AS (
  SELECT d.merchant, d.day, count(*) AS f30, count_if(f.day >= d.day - 14) AS f7, max(f.day) AS last,
    min(f.day) AS first
  FROM merchant_days d JOIN rows f ON f.merchant = d.merchant AND f.is_fraud = 1
    AND f.day BETWEEN d.day - 37 AND d.day - 8 AND f.known_day < d.day
  GROUP BY d.merchant, d.day),
category_days AS (SELECT merchant_category AS category, day, count(*) AS n FROM rows GROUP BY merchant_category, day),
category_volume AS (
  SELECT category, day,
    coalesce(sum(n) OVER (PARTITION BY category ORDER BY day RANGE BETWEEN 37 PRECEDING AND 8 PRECEDING), 0) AS n30
  FROM category_days),
category_frauds AS (
  SELECT d.category, d.day, count(*) AS f30
  FROM category_days d JOIN rows f ON f.merchant_category = d.category AND f.is_fraud = 1
    AND f.day BETWEEN d.day - 37 AND d.day - 8 AND f.known_day < d.day
  GROUP BY d.category, d.day),
windows AS (
  SELECT *,
    count(*) OVER hour AS n1h, count(*) OVER one AS n1, count(*) OVER week AS n7, count(*) OVER month AS k30,
    sum(cents) OVER week AS s7, sum(cents) OVER month AS s30, sum(cents * cents) OVER month AS q30,
    max(cents) OVER week AS m7, max(cents) OVER month AS m30,
    max(struct(second AS s, coalesce(latitude, double('NaN')) AS a, coalesce(longitude, double('NaN')) AS o))
      OVER month AS l,
    count(*) OVER same_shop AS same
  FROM rows
  WINDOW hour AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 3600 PRECEDING AND 1 PRECEDING),
    one AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 86400 PRECEDING AND 1 PRECEDING),
    week AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 604800 PRECEDING AND 1 PRECEDING),
    month AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 2592000 PRECEDING AND 1 PRECEDING),
    same_shop AS (PARTITION BY customer_id, merchant ORDER BY second RANGE BETWEEN 2592000 PRECEDING AND 1 PRECEDING)),
distances AS (
  SELECT *, 12742.0176D * asin(sqrt(pow(sin(radians(latitude - customer_latitude) / 2), 2)
      + cos(radians(customer_latitude)) * cos(radians(latitude))
      * pow(sin(radians(longitude - customer_longitude) / 2), 2))) AS home,
    12742.0176D * asin(sqrt(pow(sin(radians(nullif(l.a, double('NaN')) - latitude) / 2), 2)
      + cos(radians(latitude)) * cos(radians(l.a))
      * pow(sin(radians(nullif(l.o, double('NaN')) - longitude) / 2), 2))) AS previous
  FROM windows)
SELECT transaction_id, float(cents / 100) AS amount,
  float((double(k30) * cents - s30) / sqrt(if(k30 > 1 AND double(k30) * q30 - double(s30) * s30
    > 1e-12D * (double(k30) * q30), double(k30) * q30 - double(s30) * s30, NULL))) AS amount_zscore,
  float(cents * k30 / s30) AS amount_ratio_30d, float(cents / m30) AS amount_max_ratio_30d,
  float(m7 * k30 / s30) AS largest_ratio_7d, float(cents * w.n7 / s7) AS amount_ratio_7d,
  float(n1h) AS velocity_1h, float(n1) AS velocity_24h, float(w.n7) AS velocity_7d,
  float(coalesce(s7, 0) / 100) AS spend_7d, float(second - l.s) AS seconds_since_previous,
  float(same = 0) AS first_at_merchant, float(second % 86400 div 3600) AS hour_of_day,
  float((w.day + 3) % 7 >= 5) AS is_weekend, float(second % 86400 div 3600 < 6) AS is_night,
  float((coalesce(mf.f30, 0) + 0.2D) / (mv.n30 + 20D)) AS merchant_risk_score,
  float((coalesce(mf.f7, 0) + 0.2D) / (mv.n7 + 20D)) AS merchant_risk_7d,
  float(coalesce(mf.f30, 0)) AS merchant_frauds_30d, float(w.day - mf.last) AS merchant_fraud_recency,
  float(mf.last - mf.first) AS merchant_fraud_run, float(mv.n30) AS merchant_volume_30d,
  float((coalesce(cf.f30, 0) + 0.2D) / (cv.n30 + 20D)) AS category_risk_score,
  float(home) AS distance_from_home, float(previous) AS distance_from_previous,
  float(previous / ((second - l.s) / 3600)) AS speed_from_previous
FROM distances w
LEFT JOIN merchant_volume mv ON mv.merchant = w.merchant AND mv.day = w.day
LEFT JOIN merchant_frauds mf ON mf.merchant = w.merchant AND mf.day = w.day
LEFT JOIN category_volume cv ON cv.category = w.merchant_category AND cv.day = w.day
LEFT JOIN category_frauds cf ON cf.category = w.merchant_category AND cf.day = w.day
"""


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="output folder of data-extraction")
    parser.add_argument("--runs", type=int, default=3, help="number of runs [3]")
    parser.add_argument("--one", choices=("engine", "by hand"), help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*_run(options.one, options.dataset, options.to))
        return
    runs: dict[str, list[tuple[float, float]]] = {"engine": [], "by hand": []}
    with TemporaryDirectory() as scratch:
        for _ in range(options.runs):
            for name, measured in runs.items():
                command = [sys.executable, "-m", "benchmarks.spark", "--dataset", str(options.dataset), "--one", name]
                command += ["--to", f"{scratch}/{name}"]
                process = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, cpu = map(float, process.stdout.split())
                measured.append((seconds, cpu))
        _assert_equal(*(pl.read_parquet(f"{scratch}/{name}/*.parquet").sort("transaction_id") for name in runs))
    print("| Spark SQL | seconds | CPU seconds |\n| --- | ---: | ---: |")
    for name, measured in runs.items():
        seconds, cpu = (median(values) for values in zip(*measured, strict=True))
        print(f"| {name} | {seconds:.1f} | {cpu:.1f} |")


def _run(name: str, dataset: Path, target: Path) -> tuple[float, float]:
    """Write the features once; return the elapsed seconds, and the CPU seconds of the whole Spark process."""
    spark: Any = session()
    started = time.monotonic()
    rows = spark.read.parquet(str(dataset), recursiveFileLookup=True)
    if name == "engine":
        features = compute(rows, counts_of(rows), frauds_of(rows), DELAY).select("transaction_id", *NAMES)
    else:
        rows.createTempView("dataset")
        features = spark.sql(BY_HAND)
    features.write.parquet(str(target), mode="overwrite")
    seconds = time.monotonic() - started
    # Fields 14 and 15 of /proc/PID/stat, counted after the name in parentheses: user and system time, in ticks.
    status = Path(f"/proc/{spark.sparkContext._gateway.proc.pid}/stat").read_text().rpartition(")")[2].split()
    return seconds, (int(status[11]) + int(status[12])) / os.sysconf("SC_CLK_TCK")


def _assert_equal(engine: pl.DataFrame, by_hand: pl.DataFrame) -> None:
    by_hand = by_hand.select(engine.columns)
    assert_frame_equal(engine.drop(DISTANCES), by_hand.drop(DISTANCES), check_exact=True)
    assert_frame_equal(engine.select(DISTANCES), by_hand.select(DISTANCES), rel_tol=2e-7, abs_tol=0)


if __name__ == "__main__":
    main()
