"""Measure what a stage costs before its first row: its CPU on minimal data, compared with its imports.

    python -m benchmarks.startup [--version dev] [--runs 5]

Runs both workflows in the images, on as little data as they accept, and prints Markdown: medians of the runs.
"""

from __future__ import annotations

import argparse
import subprocess
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import WORKFLOWS, Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.launchers import DockerLauncher, Finished
from fraudline.simulate import simulate

START, DAYS = date(2026, 1, 1), 91
# As little work as the stages accept, and a gate that any model passes.
MINIMAL = [("rounds", "1"), ("samples", "2"), ("min_average_precision", "0"), ("min_card_precision", "0")]

IMPORT = "import time, {module}\nprint(time.process_time())"


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="dev", help="tag of the images [dev]")
    parser.add_argument("--runs", type=int, default=5, help="number of runs [5]")
    options = parser.parse_args()
    docker = DockerLauncher("", options.version)
    stages = [step.stage for name in ("training", "daily") for step in WORKFLOWS[name].steps]
    imports: dict[str, list[float]] = {stage.name: [] for stage in stages}
    runs: dict[str, list[float]] = {stage.name: [] for stage in stages}
    with TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        simulate(data, start=START, days=DAYS, customers=300, merchants=150, seed=1)
        for number in range(options.runs):
            for stage in stages:
                imports[stage.name].append(_import(stage, options.version))
            for name, seconds in _run(docker, data, Path(scratch, str(number))).items():
                runs[name].append(seconds)
    print("| stage | CPU seconds to import its module | CPU seconds in total | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for stage in stages:
        importing, total = median(imports[stage.name]), median(runs[stage.name])
        print(f"| {stage.name} | {importing:.2f} | {total:.2f} | {total / importing:.1f} |")


def _import(stage: Stage, version: str) -> float:
    """Return the CPU seconds of a process that only imports the stage's module, most of them for libraries."""
    script = IMPORT.format(module=f"fraudline.{stage.image}.{stage.name.replace('-', '_')}")
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python3"]
    command += [f"fraudline/{stage.image}:{version}", "-c", script]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _run(docker: DockerLauncher, data: Path, root: Path) -> dict[str, float]:
    """Run both workflows; return each stage's CPU seconds."""
    measured = {}

    def observe(stage: Stage, finished: Finished | None) -> None:
        if finished:
            measured[stage.name] = finished.cpu_seconds

    last = START + timedelta(days=DAYS - 1)
    for execution in (Execution("training", last), Execution("daily", last + timedelta(days=1))):
        settings = MINIMAL if execution.workflow == "training" else []
        runner.run(execution, runner.Folders(data, root), docker, settings, observe)
    return measured


if __name__ == "__main__":
    main()
