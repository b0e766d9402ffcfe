"""Measure the quality of the scores of past days with the labels known since.

    python -m benchmarks.detection --data FOLDER --root FOLDER

Reads ``labeled/`` of the data and ``scores/`` of a root with finished runs, and prints one line per day.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from fraudline.catalog.risk import above
from fraudline.catalog.stages import THRESHOLD
from fraudline.model.metrics import CardRanking, average_precision


def main() -> None:
    """Print the table for a root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    parser.add_argument("--root", type=Path, required=True, help="folder with the outputs of daily runs")
    options = parser.parse_args()
    print_days(options.data, options.root)


def print_days(data: Path, root: Path) -> None:
    """Print one row per day, and one for all days."""
    labels = pl.read_parquet(data / "labeled" / "*.parquet").select("transaction_id", "is_fraud")
    folders = sorted((root / "scores").glob("date=*"))
    days = [_read_day(data, folder, labels) for folder in folders]
    print("| day | scored | frauds | average precision | card-precision@100 | alerts | precision | mean score |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for folder, scored in zip(folders, days, strict=True):
        print(_line(folder.name.removeprefix("date="), scored))
    print(_line("all", pl.concat(days)))


def _read_day(data: Path, folder: Path, labels: pl.DataFrame) -> pl.DataFrame:
    """Return a day's scores with customers and labels."""
    day = folder.name.removeprefix("date=")
    raw = pl.read_parquet(data / "raw" / day / "*.parquet").select("transaction_id", "customer_id")
    scores = pl.read_parquet(folder / "*.parquet").select("transaction_id", "margin", "fraud_score")
    joined = scores.join(raw, on="transaction_id").join(labels, on="transaction_id")
    return joined.with_columns(pl.lit(day).alias("day"))


def _line(name: str, scored: pl.DataFrame) -> str:
    labels, margins = scored.get_column("is_fraud").to_numpy(), scored.get_column("margin").to_numpy()
    cards = CardRanking(scored.get_column("customer_id"), scored.get_column("day"), labels, margins)
    alerts = scored.filter(above(pl.col("fraud_score"), THRESHOLD.default))
    precision, mean_score = 0.0, 0.0
    if alerts.height:
        # A calibrated model's mean score is near the alerts' precision.
        precision, mean_score = alerts.select("is_fraud", "fraud_score").to_numpy().mean(axis=0)
    quality = f"{average_precision(labels, margins):.3f} | {cards.precision(100):.3f}"
    alert_quality = f"{alerts.height:,} | {precision:.1%} | {mean_score:.3f}"
    return f"| {name} | {scored.height:,} | {labels.sum():,} | {quality} | {alert_quality} |"


if __name__ == "__main__":
    main()
