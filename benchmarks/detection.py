"""How good the scores of some days were, once their labels are known.

    python -m benchmarks.detection --data FOLDER --root FOLDER

reads ``labeled/`` below the data and ``scores/`` below the root of earlier runs, and prints one line a day.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from fraudline.catalog.risk import above
from fraudline.catalog.stages import THRESHOLD
from fraudline.model.metrics import CardRanking, average_precision


def main() -> None:
    """Print the table of a root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    show(options.data, options.root)


def show(data: Path, root: Path) -> None:
    """Print one row a day, and one over all."""
    labels = pl.read_parquet(data / "labeled" / "*.parquet").select("transaction_id", "is_fraud")
    days = sorted((root / "scores").glob("date=*"))
    rows = [_scored(data, path, labels) for path in days]
    print("| day | scored | frauds | average precision | card-precision@100 | alerts | of them fraud | mean score |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path, scored in zip(days, rows, strict=True):
        print(_line(path.name.removeprefix("date="), scored))
    print(_line("all", pl.concat(rows)))


def _scored(data: Path, path: Path, labels: pl.DataFrame) -> pl.DataFrame:
    day = path.name.removeprefix("date=")
    raw = pl.read_parquet(data / "raw" / day / "*.parquet").select("transaction_id", "customer_id")
    scores = pl.read_parquet(path / "*.parquet").select("transaction_id", "margin", "fraud_score")
    joined = scores.join(raw, on="transaction_id").join(labels, on="transaction_id")
    return joined.with_columns(pl.lit(day).alias("day"))


def _line(name: str, scored: pl.DataFrame) -> str:
    labels, margins = scored.get_column("is_fraud").to_numpy(), scored.get_column("margin").to_numpy()
    cards = CardRanking(scored.get_column("customer_id"), scored.get_column("day"), labels, margins)
    alerts = scored.filter(above(pl.col("fraud_score"), THRESHOLD.default))
    worth_of = alerts.select("is_fraud", "fraud_score").to_numpy()
    right, mean = worth_of.mean(axis=0) if len(worth_of) else (0.0, 0.0)
    quality = f"{average_precision(labels, margins):.3f} | {cards.precision(100):.3f}"
    worth = f"{alerts.height:,} | {right:.1%} | {mean:.3f}"
    return f"| {name} | {scored.height:,} | {labels.sum():,} | {quality} | {worth} |"


if __name__ == "__main__":
    main()
