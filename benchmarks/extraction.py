"""Extraction's time and memory, and how both grow: some data, and the same data ten times over.

    python -m benchmarks.extraction --data FOLDER [--as-of DATE] [--times 10] [--runs 5]

replicates every customer with all transactions and labels under further names, runs `data-extraction` over each, and
prints Markdown; medians of interleaved runs, by the stage's own account at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from fraudline.catalog.environment import LOG


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/ in Parquet")
    parser.add_argument("--as-of", default=None, help="UTC date [the data's last day]")
    parser.add_argument("--times", type=int, default=10, help="how many times as many customers [10]")
    parser.add_argument("--runs", type=int, default=5, help="of which the medians are printed [5]")
    options = parser.parse_args()
    as_of = options.as_of or max(path.name for path in (options.data / "raw").iterdir())
    with TemporaryDirectory() as scratch:
        replicate(options.data, Path(scratch, "data"), options.times)
        places = {1: options.data, options.times: Path(scratch, "data")}
        runs: dict[int, list[dict[str, Any]]] = {times: [] for times in places}
        for _ in range(options.runs):
            for times, data in places.items():
                runs[times].append(_extract(data, Path(scratch, "out"), as_of))
    print("| rows | seconds | CPU seconds | peak MB |\n| ---: | ---: | ---: | ---: |")
    for finished in runs.values():
        seconds, cpu, peak = (median(run[key] for run in finished) for key in ("seconds", "cpu_seconds", "peak_mb"))
        print(f"| {finished[0]['rows']:,} | {seconds:.2f} | {cpu:.2f} | {peak:,.0f} |")


def replicate(data: Path, to: Path, times: int) -> None:
    """Copy a delivery, each file with its rows so many times, under other customers and other ids."""
    for path in (path for part in ("raw", "labeled") for path in (data / part).rglob("*.parquet")):
        table = pl.read_parquet(path)
        ids = [pl.col(name) for name in ("transaction_id", "customer_id") if name in table.columns]
        copies = [table.with_columns(column + f"-{number}" for column in ids) for number in range(times)]
        (to / path.relative_to(data)).parent.mkdir(parents=True, exist_ok=True)
        pl.concat(copies).write_parquet(to / path.relative_to(data))


def _extract(data: Path, out: Path, as_of: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "fraudline", "data-extraction", "--as-of", as_of]
    command += ["--input", f"raw={data}/raw", "--input", f"labels={data}/labeled"]
    command += [part for name in ("dataset", "rejected", "summary") for part in ("--output", f"{name}={out}/{name}")]
    environment = os.environ | {LOG.name: "json"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    finished: dict[str, Any] = json.loads(ended.stderr.splitlines()[-1])
    return finished


if __name__ == "__main__":
    main()
