"""Write deliveries in every format, and extract the dataset from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from tests.running import run_stage

DAY = date(2026, 1, 10)
GOOD: dict[str, Any] = {
    "transaction_id": "t0",
    "customer_id": "c1",
    "merchant": "m1",
    "amount": 12.34,
    "timestamp": datetime(2026, 1, 10, 12, tzinfo=UTC),
}


def deliver(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[Mapping[str, Any]] | None = None,
    day: date = DAY,
    name: str = "transactions.parquet",
) -> dict[str, Path]:
    """Write rows into a day's folder, and labels unless there are some already; return the stage's inputs."""
    write(folder / "raw" / day.isoformat() / name, rows)
    if labels is not None or not (folder / "labeled").exists():
        write(folder / "labeled/labels.parquet", labels or [{"transaction_id": "t0", "is_fraud": 0}])
    return {"raw": folder / "raw", "labels": folder / "labeled"}


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table = pl.DataFrame(rows, infer_schema_length=None)
        table.with_columns(pl.col("amount").cast(pl.Float64) if "amount" in table.columns else []).write_parquet(path)
        return
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    lines = _csv_lines(plain) if ".csv" in path.suffixes else _json_lines(plain)
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def _csv_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    values = (["" if value is None else str(value) for value in row.values()] for row in rows)
    return [",".join(line) for line in (rows[0], *values)]


def _json_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def extract(folder: Path, inputs: dict[str, Path], **texts: Any) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Run data-extraction; return the dataset sorted by id, the rejected rows, and the summary."""
    outputs = {"dataset": folder / "dataset", "rejected": folder / "rejected", "summary": folder / "summary"}
    summary = run_stage("data-extraction", inputs, outputs, **({"as_of": "2026-02-01", "max_rejected": 1} | texts))
    dataset, rejected = (
        pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in sorted(outputs[name].rglob("*.parquet")))
        for name in ("dataset", "rejected")
    )
    return dataset.sort("transaction_id"), rejected, summary
