"""Measure the time and memory of the features: compared with other libraries, on more rows, and for one day.

    python -m benchmarks.features --data FOLDER [--last DATE] [--only peers|growth|day] [--plot FILE]

Each measurement is a process of its own, imports included; the operating system accounts for its CPU seconds (user
and system) and its peak memory. The figures are medians of five runs in turn. Outputs are compared before anything is
timed. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.processes import Usage, interleaved, measure
from fraudline.catalog import parsing
from fraudline.catalog.features import FEATURES
from fraudline.catalog.stages import STAGES
from fraudline.simulate import simulate

PYTHON = sys.executable
RUNS = 5
GROWTH = (1, 2, 5, 10)
COPIES = 5  # of each customer, so that a day has about 50,000 rows
# The script of each library in benchmarks/peers.
PEERS = {"Fraudline": "ours", "pandas": "pandas_rolling", "DuckDB": "duckdb_windows"}
KILOMETERS = ("km", "km/h")  # units of features whose last bits depend on a library's sin and cos


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    parser.add_argument("--last", type=parsing.argument(parsing.day), help="last day [the data's last]")
    parser.add_argument("--only", choices=("peers", "growth", "day"), help="one of the three [all]")
    parser.add_argument("--plot", type=Path, help="file for the plot of growth, SVG or PNG")
    options = parser.parse_args()
    last = options.last or date.fromisoformat(max(path.name for path in (options.data / "raw").iterdir()))
    with TemporaryDirectory(prefix="fraudline-bench-") as scratch:
        if options.only in (None, "peers"):
            _measure_peers(options.data, last, Path(scratch))
        if options.only in (None, "growth"):
            _measure_growth(options.data, last, Path(scratch), options.plot)
        if options.only in (None, "day"):
            _measure_day(options.data, last, Path(scratch))


def _measure_peers(data: Path, last: date, scratch: Path) -> None:
    """Measure all rows; compare outputs on simulated data, too, because real data may lack optional columns."""
    simulate(scratch / "simulated", start=date(2026, 1, 1), days=90, customers=400, merchants=150, seed=3)
    for source, as_of in ((scratch / "simulated", date(2026, 4, 1)), (data, last)):
        dataset = _extract(source, as_of, scratch / f"{source.name}-dataset")
        outputs = {name: scratch / f"{source.name}-{script}" for name, script in PEERS.items()}
        commands = {name: _script(script, dataset, outputs[name]) for name, script in PEERS.items()}
        for name, command in commands.items():
            measure(command)
            assert_equal(outputs["Fraudline"], outputs[name], name)
    rows = _count_rows(outputs["Fraudline"])
    print(f"Equal outputs, also on simulated data with coordinates and categories. {rows:,} rows:\n")
    _print_table(interleaved(commands, RUNS))


def _measure_growth(data: Path, last: date, scratch: Path, plot: Path | None) -> None:
    measured = {}
    for factor in GROWTH:
        copies = _replicate(data, scratch / f"x{factor}", last - timedelta(days=200), last, factor)
        dataset = _extract(copies, last, scratch / f"x{factor}-dataset")
        command = _stage("feature-engineering", last, {"dataset": dataset}, scratch / f"x{factor}-features")
        # Large factors take minutes, so they run less often.
        measured[factor] = interleaved({"": command}, 3 if factor > 2 else RUNS)[""]
        print(f"x{factor}: {measured[factor]}", file=sys.stderr, flush=True)
    rows = _count_rows(scratch / "x1-dataset")
    print("\nfeature-engineering, the whole stage, on the same rows for more and more customers:\n")
    print("| rows | CPU seconds | relative | seconds | peak MB |\n| ---: | ---: | ---: | ---: | ---: |")
    for factor, usage in measured.items():
        ratio = usage.cpu / measured[1].cpu
        print(f"| {rows * factor:,} | {usage.cpu:.1f} | {ratio:.2f} | {usage.wall:.1f} | {usage.peak:,.0f} |")
    if plot:
        _draw(plot, {rows * factor: usage for factor, usage in measured.items()})


def _measure_day(data: Path, last: date, scratch: Path) -> None:
    """Measure the last day: Fraudline reads the outputs of earlier stages, the peer raw data."""
    copies = _replicate(data, scratch / "day", last - timedelta(days=75), last + timedelta(days=1), COPIES)
    dataset, inputs = _extract(copies, last, scratch / "day-dataset"), scratch / "day-inputs"
    following = last + timedelta(days=1)
    history = inputs / "history" / f"before={last}"
    measure(_stage("backfill-history", last, {"dataset": dataset}, inputs, history=history))
    raw = {"raw": copies / "raw", "labels": copies / "labeled"}
    measure(_stage("etl", following, raw, inputs, rejected=scratch / "day-rejected"))
    own, peer = scratch / "day-own", scratch / "day-peer"
    commands = {
        "Fraudline": _script("ours_day", inputs, str(last), own),
        "polars, from 37 days of raw rows": _script("polars_day", inputs, copies / "raw", str(last), peer),
        "the whole stage feature-extraction": _stage(
            "feature-extraction", following,
            {name: inputs / name for name in ("transactions", "labels")} | {"history": history}, scratch / "day-stage",
        ),
        "importing polars and NumPy alone": [PYTHON, "-c", "import numpy, polars"],
    }  # fmt: skip
    for command in commands.values():
        measure(command)
    assert_equal(own, peer, "polars_day")
    print(f"\nOne day of {_count_rows(own):,} rows, from the history before it:\n")
    _print_table(interleaved(commands, RUNS))


def assert_equal(expected: Path, actual: Path, name: str) -> None:
    """Compare all features: to one bit of float32, or to a few where sin and cos are involved; nulls exactly."""
    tables = [pl.read_parquet(folder / "*.parquet").sort("transaction_id") for folder in (expected, actual)]
    ids, other_ids = (table.get_column("transaction_id") for table in tables)
    assert ids.equals(other_ids), f"{name}: other rows"
    for feature in FEATURES:
        values, other_values = (table.get_column(feature.name) for table in tables)
        tolerance = 1e-6 if feature.unit in KILOMETERS else 1.2e-7
        assert values.is_null().equals(other_values.is_null()), f"{name}: {feature.name} is null in other rows"
        np.testing.assert_allclose(
            other_values.drop_nulls().to_numpy(),
            values.drop_nulls().to_numpy(),
            rtol=tolerance,
            atol=1e-6,
            err_msg=f"{name}: {feature.name}",
        )


def _replicate(data: Path, folder: Path, first: date, end: date, factor: int) -> Path:
    """Copy the days from ``first`` to before ``end``, with each customer ``factor`` times; return the folder."""
    for path in sorted((data / "raw").glob("*/*.parquet")):
        if first <= date.fromisoformat(path.parent.name) < end:
            _copy(path, folder / "raw" / path.parent.name / path.name, factor)
    for path in sorted((data / "labeled").glob("*.parquet")):
        _copy(path, folder / "labeled" / path.name, factor)
    return folder


def _copy(path: Path, target: Path, factor: int) -> None:
    table = pl.read_parquet(path)
    names = [name for name in ("transaction_id", "customer_id") if name in table.columns]
    copies = [table.with_columns(pl.col(names) + f"-{number}") for number in range(1, factor)]
    target.parent.mkdir(parents=True, exist_ok=True)
    pl.concat([table, *copies]).write_parquet(target)


def _extract(data: Path, as_of: date, dataset: Path) -> Path:
    """Run data-extraction; return the folder of the dataset."""
    raw = {"raw": data / "raw", "labels": data / "labeled"}
    others = dataset.parent / f"{dataset.name}-others"
    measure(_stage("data-extraction", as_of, raw, others, dataset=dataset))
    return dataset


def _stage(name: str, as_of: date, inputs: dict[str, Path], outputs: Path, **explicit: Path) -> list[str]:
    """Return the command of a stage; its outputs are below ``outputs``, unless they are ``explicit``."""
    folders = {channel.name: outputs / channel.name for channel in STAGES[name].writes}
    if "history" in folders:
        folders["history"] = outputs / "history" / f"before={as_of}"
    folders |= explicit
    folders["summary"] = outputs / "summary" / name
    command = [PYTHON, "-m", "fraudline", name, "--as-of", str(as_of)]
    for channel, folder in inputs.items():
        command += ["--input", f"{channel}={folder}"]
    for channel, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        command += ["--output", f"{channel}={folder}"]
    return command


def _script(name: str, *arguments: Path | str) -> list[str]:
    return [PYTHON, "-m", f"benchmarks.peers.{name}", *map(str, arguments)]


def _count_rows(folder: Path) -> int:
    return int(pl.scan_parquet(folder / "**/*.parquet").select(pl.len()).collect().item())


def _print_table(usages: dict[str, Usage]) -> None:
    print("| | CPU seconds | relative | seconds | peak MB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, usage in usages.items():
        ratio = usage.cpu / usages["Fraudline"].cpu
        print(f"| {name} | {usage.cpu:.2f} | {ratio:.1f} | {usage.wall:.2f} | {usage.peak:,.0f} |", flush=True)


def _draw(path: Path, measured: dict[int, Usage]) -> None:
    import matplotlib  # noqa: PLC0415 - only the plot needs it

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot  # noqa: PLC0415

    rows = [count / 1e6 for count in measured]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    cpu = [usage.cpu for usage in measured.values()]
    axes[0].plot(rows, cpu, marker="o", label="CPU seconds")
    axes[0].plot(rows, [usage.wall for usage in measured.values()], marker="o", label="seconds")
    axes[0].plot(rows, [cpu[0] * count / rows[0] for count in rows], "k:", label="CPU seconds, if linear")
    axes[0].legend(frameon=False)
    axes[1].plot(rows, [usage.peak for usage in measured.values()], marker="o", color="tab:green")
    for axis, title in zip(axes, ("time, s", "peak memory, MB"), strict=True):
        axis.set(title=title, xlabel="million transactions", ylim=(0, None), xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
