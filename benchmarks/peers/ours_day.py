"""Fraudline: compute one day's features from the history before it, without writing the next history."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import polars as pl

from fraudline.catalog.schema import TRANSACTIONS
from fraudline.catalog.stages import STAGES
from fraudline.features.history import read_history
from fraudline.features.numpy_engine import compute
from fraudline.runtime.channels import Channels

DELAY = 7


def main(folder: str, day: str, out: str) -> None:
    """Read ``transactions/`` and ``history/`` below ``folder``; write ``part.parquet`` below ``out``."""
    today = date.fromisoformat(day)
    inputs = {"transactions": f"{folder}/transactions", "history": f"{folder}/history/before={day}"}
    with Channels(STAGES["feature-extraction"], inputs, {}) as channels:
        rows, past = channels.read("transactions", TRANSACTIONS), read_history(channels, today, DELAY)
        features = compute(rows, past.events, past.entity_days(DELAY, today, today))
        table = pl.concat([rows.select("transaction_id"), features], how="horizontal")
        Path(out).mkdir(parents=True, exist_ok=True)
        table.write_parquet(Path(out, "part.parquet"), compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
