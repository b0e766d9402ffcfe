"""Fraudline: compute features of a whole dataset, part by part on all cores, as feature-engineering does."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from fraudline.catalog.days import from_day_number
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stages import STAGES
from fraudline.features.history import EVENTS, entity_history
from fraudline.features.numpy_engine import compute
from fraudline.runtime.channels import Channels

DELAY = 7


def main(dataset: str, out: str) -> None:
    """Write ``part-NNN.parquet`` below ``out``: transaction_id and the features."""
    with Channels(STAGES["backfill-history"], {"dataset": dataset}, {}) as channels:
        parts = channels.parts("dataset", DATASET)
        history = entity_history(pl.concat(parts))
        last = from_day_number(int(history.counts.get_column("day").max()))  # type: ignore[arg-type]
        entities = history.entity_days(DELAY, history.first_day(), last)

        def write_part(number: int) -> None:
            rows = parts[number].collect()
            features = compute(rows, pl.DataFrame(schema=EVENTS), entities)
            table = pl.concat([rows.select("transaction_id"), features], how="horizontal")
            table.write_parquet(Path(out, f"part-{number:03}.parquet"), compression="zstd", compression_level=1)

        Path(out).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(write_part, range(len(parts))))


if __name__ == "__main__":
    main(*sys.argv[1:])
