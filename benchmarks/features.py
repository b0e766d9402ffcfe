"""The features' time and memory against peers, with more rows, and for one day.

    python -m benchmarks.features --data FOLDER [--last DATE] [--only peers|growth|day] [--plot FILE]

Each is a process of its own, imports included, and its CPU seconds (user and system) and peak memory are the operating
system's account; medians of five runs in turn. Outputs are compared before anything is timed. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.processes import Used, interleaved, measure
from fraudline.catalog.features import FEATURES
from fraudline.catalog.stages import STAGES
from fraudline.simulate import simulate

PYTHON = sys.executable
RUNS = 5
GROWTH = (1, 2, 5, 10)
COPIES = 5  # of the customers, which make a day of about 50,000 rows
PEERS = ("ours", "pandas_rolling", "duckdb_windows")
KILOMETRES = ("km", "km/h")  # sin and cos differ in the last bit from one library to another


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    parser.add_argument("--last", type=date.fromisoformat, help="last day [the data's last]")
    parser.add_argument("--only", choices=("peers", "growth", "day"), help="one of the three [all]")
    parser.add_argument("--plot", type=Path, help="where the growth is drawn, as SVG or PNG")
    options = parser.parse_args()
    last = options.last or date.fromisoformat(max(path.name for path in (options.data / "raw").iterdir()))
    with TemporaryDirectory(prefix="fraudline-bench-") as scratch:
        if options.only in (None, "peers"):
            _peers(options.data, last, Path(scratch))
        if options.only in (None, "growth"):
            _growth(options.data, last, Path(scratch), options.plot)
        if options.only in (None, "day"):
            _day(options.data, last, Path(scratch))


def _peers(data: Path, last: date, scratch: Path) -> None:
    simulate(scratch / "made-up", start=date(2026, 1, 1), days=90, customers=400, merchants=150, seed=3)
    for source, as_of in ((scratch / "made-up", date(2026, 4, 1)), (data, last)):
        dataset = _extract(source, as_of, scratch / f"{source.name}-dataset")
        outputs = {name: scratch / f"{source.name}-{name}" for name in PEERS}
        commands = {name: _script(name, dataset, outputs[name]) for name in PEERS}
        for name, command in commands.items():
            measure(command)
            assert_equal(outputs["ours"], outputs[name], name)
    print(f"Equal in output, also on made-up data with places and categories. {_rows(outputs['ours']):,} rows:\n")
    _table(interleaved(commands, RUNS), "ours")


def _growth(data: Path, last: date, scratch: Path, plot: Path | None) -> None:
    measured = {}
    for factor in GROWTH:
        copies = _replicated(data, scratch / f"x{factor}", last - timedelta(days=200), last, factor)
        dataset = _extract(copies, last, scratch / f"x{factor}-dataset")
        command = _stage("feature-engineering", last, {"dataset": dataset}, scratch / f"x{factor}-features")
        measured[factor] = interleaved({"": command}, 3 if factor > 2 else RUNS)[""]
        print(f"x{factor}: {measured[factor]}", file=sys.stderr, flush=True)
    rows = _rows(scratch / "x1-dataset")
    print("\nfeature-engineering, the whole stage, over the same rows with more and more customers:\n")
    print("| rows | CPU seconds | of x1 | seconds | peak MB |\n| ---: | ---: | ---: | ---: | ---: |")
    for factor, used in measured.items():
        ratio = used.cpu / measured[1].cpu
        print(f"| {rows * factor:,} | {used.cpu:.1f} | {ratio:.2f} | {used.wall:.1f} | {used.peak:,.0f} |")
    if plot:
        _draw(plot, {rows * factor: used for factor, used in measured.items()})


def _day(data: Path, last: date, scratch: Path) -> None:
    """The last day: history and day as the stages before leave them, and raw data for the peer."""
    copies = _replicated(data, scratch / "day", last - timedelta(days=75), last + timedelta(days=1), COPIES)
    dataset, inputs = _extract(copies, last, scratch / "day-dataset"), scratch / "day-inputs"
    following = last + timedelta(days=1)
    history = inputs / "history" / f"before={last}"
    measure(_stage("backfill-history", last, {"dataset": dataset}, inputs, history=history))
    raw = {"raw": copies / "raw", "labels": copies / "labeled"}
    measure(_stage("etl", following, raw, inputs, rejected=scratch / "day-rejected"))
    ours, peer = scratch / "day-ours", scratch / "day-peer"
    commands = {
        "ours": _script("ours_day", inputs, str(last), ours),
        "polars over 30 days raw": _script("polars_day", inputs, copies / "raw", str(last), peer),
        "feature-extraction, the whole stage": _stage(
            "feature-extraction", following,
            {name: inputs / name for name in ("transactions", "labels")} | {"history": history}, scratch / "day-stage",
        ),
        "importing polars and NumPy alone": [PYTHON, "-c", "import numpy, polars"],
    }  # fmt: skip
    for command in commands.values():
        measure(command)
    assert_equal(ours, peer, "polars_day")
    print(f"\nOne day of {_rows(ours):,} rows, from the history before it:\n")
    _table(interleaved(commands, RUNS), "ours")


def assert_equal(ours: Path, theirs: Path, name: str) -> None:
    """Every feature to a bit of float32, or to some where it is built from sin and cos; nulls where ours are."""
    a, b = (pl.read_parquet(folder / "*.parquet").sort("transaction_id") for folder in (ours, theirs))
    assert a.get_column("transaction_id").equals(b.get_column("transaction_id")), f"{name}: other rows"
    for feature in FEATURES:
        x, y = (table.get_column(feature.name) for table in (a, b))
        tolerance = 1e-6 if feature.unit in KILOMETRES else 1.2e-7
        assert x.is_null().equals(y.is_null()), f"{name}: {feature.name} is null elsewhere"
        ours_, theirs_ = x.drop_nulls().to_numpy(), y.drop_nulls().to_numpy()
        np.testing.assert_allclose(theirs_, ours_, rtol=tolerance, atol=1e-6, err_msg=f"{name}: {feature.name}")


def _replicated(data: Path, folder: Path, first: date, end: date, factor: int) -> Path:
    """The same days with each customer so many times; merchants stay the same."""
    for path in sorted((data / "raw").glob("*/*.parquet")):
        if first <= date.fromisoformat(path.parent.name) < end:
            _copy(path, folder / "raw" / path.parent.name / path.name, factor)
    for path in sorted((data / "labeled").glob("*.parquet")):
        _copy(path, folder / "labeled" / path.name, factor)
    return folder


def _copy(path: Path, to: Path, factor: int) -> None:
    table = pl.read_parquet(path)
    names = [name for name in ("transaction_id", "customer_id") if name in table.columns]
    to.parent.mkdir(parents=True, exist_ok=True)
    copies = (table.with_columns(pl.col(names) + f"-{copy}") if copy else table for copy in range(factor))
    pl.concat(copies).write_parquet(to)


def _extract(data: Path, as_of: date, dataset: Path) -> Path:
    raw = {"raw": data / "raw", "labels": data / "labeled"}
    measure(_stage("data-extraction", as_of, raw, dataset.parent / f"{dataset.name}-more", dataset=dataset))
    return dataset


def _stage(name: str, as_of: date, inputs: dict[str, Path], outputs: Path, **places: Path) -> list[str]:
    written = {channel.name: outputs / channel.name for channel in STAGES[name].writes} | places
    written["summary"] = outputs / "summary" / name
    if "history" in written and "history" not in places:
        written["history"] = outputs / "history" / f"before={as_of}"
    for path in written.values():
        path.mkdir(parents=True, exist_ok=True)
    command = [PYTHON, "-m", "fraudline", name, "--as-of", str(as_of)]
    command += [word for key, path in inputs.items() for word in ("--input", f"{key}={path}")]
    return command + [word for key, path in written.items() for word in ("--output", f"{key}={path}")]


def _script(name: str, *arguments: Path | str) -> list[str]:
    return [PYTHON, "-m", f"benchmarks.peers.{name}", *map(str, arguments)]


def _rows(folder: Path) -> int:
    return int(pl.scan_parquet(folder / "**/*.parquet").select(pl.len()).collect().item())


def _table(used: dict[str, Used], ours: str) -> None:
    print("| | CPU seconds | of ours | seconds | peak MB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, figures in used.items():
        ratio = figures.cpu / used[ours].cpu
        print(f"| {name} | {figures.cpu:.2f} | {ratio:.1f} | {figures.wall:.2f} | {figures.peak:,.0f} |", flush=True)


def _draw(path: Path, measured: dict[int, Used]) -> None:
    import matplotlib  # noqa: PLC0415 - only who wants the plot needs it

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot  # noqa: PLC0415

    rows = [count / 1e6 for count in measured]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    cpu = [used.cpu for used in measured.values()]
    axes[0].plot(rows, cpu, marker="o", label="CPU seconds")
    axes[0].plot(rows, [used.wall for used in measured.values()], marker="o", label="seconds")
    axes[0].plot(rows, [cpu[0] * count / rows[0] for count in rows], "k:", label="CPU seconds, if linear")
    axes[0].legend(frameon=False)
    axes[1].plot(rows, [used.peak for used in measured.values()], marker="o", color="tab:green")
    for axis, title in zip(axes, ("time, s", "peak memory, MB"), strict=True):
        axis.set(title=title, xlabel="million transactions", ylim=(0, None), xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
