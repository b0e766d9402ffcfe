"""Measure both workflows stage by stage, and the quality of their scores.

    python -m benchmarks [--data FOLDER] [--last DATE] [--days 7]

Trains as of the first of the days, and scores the days one after another, each stage in its own process. Prints
Markdown. Each stage reports its seconds, CPU seconds and peak memory itself when it ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import detection
from fraudline.catalog import parsing
from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.commands import SAMPLE
from fraudline.orchestration.local.launchers import Finished, ProcessLauncher
from fraudline.simulate import simulate


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with raw/ and labeled/ [simulated data]")
    parser.add_argument("--last", type=parsing.argument(parsing.day), help="last day to score [the data's last]")
    parser.add_argument("--days", type=int, default=7, help="number of days to score [7]")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        data, root = options.data or Path(scratch, "data"), Path(scratch, "root")
        if options.data is None:
            simulate(data, **SAMPLE)  # type: ignore[arg-type]
        days = (path.name for path in (data / "raw").glob("????-??-??"))
        last = options.last or date.fromisoformat(max(days))
        first = last - timedelta(days=options.days - 1)
        measured = _run(Execution("training", first), data, root)
        for number in range(options.days):
            measured = {**measured, **_run(Execution("daily", first + timedelta(days=number + 1)), data, root)}
        print(f"Training as of {first}, then {options.days} days to {last}; daily stages as of the last day.\n")
        _print_stages(measured)
        print()
        detection.print_days(data, root)


def _run(execution: Execution, data: Path, root: Path) -> dict[str, Finished]:
    """Run an execution; return what each stage reported."""
    measured = {}

    def observe(stage: Stage, finished: Finished | None) -> None:
        if finished:
            measured[stage.name] = finished

    runner.run(execution, runner.Folders(data, root), ProcessLauncher(), [], observe)
    return measured


def _print_stages(measured: Mapping[str, Finished]) -> None:
    print("| stage | rows | seconds | CPU seconds | peak MB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, finished in measured.items():
        figures = f"{finished.seconds:.1f} | {finished.cpu_seconds:.1f} | {finished.peak_mb:,}"
        print(f"| {name} | {finished.rows:,} | {figures} |")


if __name__ == "__main__":
    main()
