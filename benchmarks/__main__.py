"""Both workflows over some data, measured stage by stage, and how good the scores were.

    python -m benchmarks [--data FOLDER] [--last DATE] [--days 7]

trains as of the first of some days, the data's last unless told, and scores them one after another, each stage in
a process of its own, and prints Markdown. Seconds, CPU and peak memory are the stage's own account at its end.
"""

from __future__ import annotations

import argparse
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import detection
from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.commands import SAMPLE
from fraudline.orchestration.local.launchers import Finished, Processes
from fraudline.simulate import simulate


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with raw/ and labeled/ [made up]")
    parser.add_argument("--last", type=date.fromisoformat, help="last day to score [the data's last]")
    parser.add_argument("--days", type=int, default=7, help="how many days to score [7]")
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
        print(f"Training as of {first}, then {options.days} days to {last}; the last day's figures.\n")
        print("| stage | rows | seconds | CPU seconds | peak MB |\n| --- | ---: | ---: | ---: | ---: |")
        for name, finished in measured.items():
            figures = f"{finished.seconds:.1f} | {finished.cpu_seconds:.1f} | {finished.peak_mb:,}"
            print(f"| {name} | {finished.rows:,} | {figures} |")
        print()
        detection.show(data, root)


def _run(execution: Execution, data: Path, root: Path) -> dict[str, Finished]:
    measured = {}

    def observe(stage: Stage, finished: Finished | None) -> None:
        if finished:
            measured[stage.name] = finished

    runner.run(execution, runner.Places(data, root), Processes(), [], observe)
    return measured


if __name__ == "__main__":
    main()
