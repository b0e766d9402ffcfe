"""An archive of scores with labels, as alert-and-store reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from fraudline.catalog.schema import LABELS, SCORES
from fraudline.catalog.stages import STAGES
from fraudline.runtime.channels import Channels

# Of each transaction: its score, and its label or None.
Rows = Sequence[tuple[float, int | None]]
Archive = Callable[..., Channels]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Write archived days and their labels; return the channels to read them from."""

    def write(days: Mapping[date, Rows], without: Sequence[str] = ()) -> Channels:
        labels = [pl.DataFrame(schema=dict(LABELS))]
        for day, rows in days.items():
            ids = [f"{day}-{number}" for number in range(len(rows))]
            scores = pl.DataFrame(
                {"transaction_id": ids, "fraud_score": [score for score, _ in rows]}, schema_overrides=dict(SCORES)
            )
            nulls = {name: pl.lit(None, dtype) for name, dtype in SCORES.items() if name not in scores.columns}
            nulls["margin"] = pl.col("fraud_score").cast(pl.Float32)
            save(scores.with_columns(**nulls).drop(without), tmp_path / f"past/date={day}")
            labels.append(label_table(ids, [label for _, label in rows]))
        save(pl.concat(labels), tmp_path / "labels")
        return Channels(STAGES["alert-and-store"], {name: str(tmp_path / name) for name in ("past", "labels")}, {})

    return write


def label_table(ids: Sequence[str], frauds: Sequence[int | None]) -> pl.DataFrame:
    table = pl.DataFrame({"transaction_id": ids, "is_fraud": frauds}).drop_nulls()
    table = table.with_columns(merchant=pl.lit("Kiosk"), merchant_category=None, day=0, known_day=0)
    return table.select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())


def save(table: pl.DataFrame, folder: Path) -> None:
    folder.mkdir(parents=True)
    table.write_parquet(folder / "part-0.parquet")
