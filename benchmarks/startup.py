"""What a stage costs before its first row: its CPU over next to no data, against importing what it needs.

    python -m benchmarks.startup [--version dev] [--runs 5]

runs both workflows in the images, over as little data as they accept, and prints Markdown; medians of the runs.
"""

from __future__ import annotations

import argparse
import subprocess
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from fraudline.catalog.stage import Stage
from fraudline.catalog.workflow import WORKFLOWS, Execution
from fraudline.orchestration.local import runner
from fraudline.orchestration.local.launchers import Docker, Finished
from fraudline.simulate import simulate

START, DAYS = date(2026, 1, 1), 91
LEAST = [("rounds", "1"), ("samples", "2"), ("min_average_precision", "0"), ("min_card_precision", "0")]

IMPORT = "import time, {module}\nprint(time.process_time())"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="dev", help="tag of the images [dev]")
    parser.add_argument("--runs", type=int, default=5, help="of which the medians are printed [5]")
    options = parser.parse_args()
    docker = Docker("", options.version)
    stages = [step.stage for workflow in WORKFLOWS.values() for step in workflow.steps]
    imports: dict[str, list[float]] = {stage.name: [] for stage in stages}
    whole: dict[str, list[float]] = {stage.name: [] for stage in stages}
    with TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        simulate(data, start=START, days=DAYS, customers=300, merchants=150, seed=1)
        for number in range(options.runs):
            for stage in stages:
                imports[stage.name].append(_import(stage, options.version))
            for name, seconds in _run(docker, data, Path(scratch, str(number))).items():
                whole[name].append(seconds)
    print("| stage | CPU seconds to import what it needs | to its end | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for stage in stages:
        least, all_of_it = median(imports[stage.name]), median(whole[stage.name])
        print(f"| {stage.name} | {least:.2f} | {all_of_it:.2f} | {all_of_it / least:.1f} |")


def _import(stage: Stage, version: str) -> float:
    """CPU seconds of a process that only imports the stage's module, nearly all of it libraries."""
    script = IMPORT.format(module=f"fraudline.{stage.image}.{stage.name.replace('-', '_')}")
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python3"]
    command += [f"fraudline/{stage.image}:{version}", "-c", script]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _run(docker: Docker, data: Path, root: Path) -> dict[str, float]:
    measured = {}

    def observe(stage: Stage, finished: Finished | None) -> None:
        if finished:
            measured[stage.name] = finished.cpu_seconds

    last = date.fromordinal(START.toordinal() + DAYS - 1)
    for execution in (Execution("training", last), Execution("daily", date.fromordinal(last.toordinal() + 1))):
        settings = LEAST if execution.workflow == "training" else []
        runner.run(execution, runner.Places(data, root), docker, settings, observe)
    return measured


if __name__ == "__main__":
    main()
