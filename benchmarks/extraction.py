"""Measure the time and memory of data-extraction on some data, and on ten copies of it.

    python -m benchmarks.extraction --data FOLDER [--as-of DATE] [--times 10] [--runs 5]

Replicates every customer, with all transactions and labels, under new ids; runs `data-extraction` on both; and prints
Markdown. The figures are medians of interleaved runs, which the stage reports itself when it ends.
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
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/ in Parquet")
    parser.add_argument("--as-of", default=None, help="UTC date [the data's last day]")
    parser.add_argument("--times", type=int, default=10, help="factor on the number of customers [10]")
    parser.add_argument("--runs", type=int, default=5, help="number of runs [5]")
    options = parser.parse_args()
    as_of = options.as_of or max(path.name for path in (options.data / "raw").iterdir())
    with TemporaryDirectory() as scratch:
        _replicate(options.data, Path(scratch, "data"), options.times)
        folders = {1: options.data, options.times: Path(scratch, "data")}
        runs: dict[int, list[dict[str, Any]]] = {times: [] for times in folders}
        for _ in range(options.runs):
            for times, data in folders.items():
                runs[times].append(_extract(data, Path(scratch, "out"), as_of))
    print("| rows | seconds | CPU seconds | peak MB |\n| ---: | ---: | ---: | ---: |")
    for finished in runs.values():
        seconds, cpu, peak = (median(run[name] for run in finished) for name in ("seconds", "cpu_seconds", "peak_mb"))
        print(f"| {finished[0]['rows']:,} | {seconds:.2f} | {cpu:.2f} | {peak:,.0f} |")


def _replicate(data: Path, target: Path, times: int) -> None:
    """Copy a delivery; each file gets its rows ``times`` times, under new customer and transaction ids."""
    for path in [*(data / "raw").rglob("*.parquet"), *(data / "labeled").rglob("*.parquet")]:
        table = pl.read_parquet(path)
        ids = [pl.col(name) for name in ("transaction_id", "customer_id") if name in table.columns]
        copies = [table.with_columns(column + f"-{number}" for column in ids) for number in range(times)]
        copy = target / path.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        pl.concat(copies).write_parquet(copy)


def _extract(data: Path, out: Path, as_of: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "fraudline", "data-extraction", "--as-of", as_of]
    command += ["--input", f"raw={data}/raw", "--input", f"labels={data}/labeled"]
    for name in ("dataset", "rejected", "summary"):
        command += ["--output", f"{name}={out}/{name}"]
    environment = os.environ | {LOG.name: "json"}
    process = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    # The last line of a stage's log has its figures.
    finished: dict[str, Any] = json.loads(process.stderr.splitlines()[-1])
    return finished


if __name__ == "__main__":
    main()
