"""A workflow, stage by stage, over folders below one root."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import JobPlan, Location, plan, resolve
from fraudline.catalog.stage import NO_CHAMPION, POINTER_FILE, SUMMARY, SUMMARY_FILE, Stage
from fraudline.catalog.workflow import CHAMPION, Execution
from fraudline.orchestration.local.journal import Journal, Run, locked
from fraudline.orchestration.local.launchers import Carrier, Finished

Observer = Callable[[Stage, Finished | None], None]


@dataclass(frozen=True)
class Places:
    """Where a workflow's addresses lie: ``data`` holds raw/ and labeled/, ``root`` all the rest."""

    data: Path
    root: Path

    def path(self, location: Location, as_of: date) -> Path:
        """Return a location as a folder."""
        return {"data": self.data, "root": self.root}[location.base] / resolve(location.template, as_of)

    def prepare(self) -> None:
        """Write the pointer to no champion into a new root; in a used one its absence is an error."""
        pointer = self.root / CHAMPION.template / POINTER_FILE
        if not pointer.exists() and not (self.root / "executions").exists():
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.write_text(NO_CHAMPION)


def run(
    execution: Execution,
    places: Places,
    carrier: Carrier,
    settings: Sequence[tuple[str, str]],
    observe: Observer,
    *,
    anew: bool = False,
) -> dict[str, Any]:
    """Run the stages of an execution, from the first that has not finished with the same settings and inputs.

    Args:
        execution: which workflow, as of which day.
        places: where its channels lie.
        carrier: runs one stage.
        settings: parameters by name, for each stage that has them.
        observe: told of each stage when it starts, and again when it has finished.
        anew: run finished stages again.

    Returns:
        Each stage's summary, by the stage's name.
    """
    places.prepare()
    folder = places.root / "executions" / execution.id
    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    with locked(folder) as lock:
        journal = Journal(folder)
        for job in plan(execution.workflow):
            stage = job.stage
            inputs = {name: places.path(location, execution.as_of) for name, location in job.inputs.items()}
            outputs = {name: places.path(location, execution.as_of) for name, location in job.outputs.items()}
            arguments = _arguments(job, execution, settings)
            stage_run = Run(stage, [carrier.version(stage), *arguments], inputs, outputs)
            finished = None if anew else journal.finished(stage_run)
            if finished is None:
                anew = True  # what follows would read what is written now
                observe(stage, None)
                for path in outputs.values():
                    path.mkdir(parents=True, exist_ok=True)
                journal.begin(stage_run)
                finished = carrier.run(stage, inputs, outputs, arguments, lock)
                journal.end(stage_run, finished)
            observe(stage, finished)
            summaries[stage.name] = json.loads((outputs[SUMMARY] / SUMMARY_FILE).read_text())
    return summaries


def check(workflow: str, settings: Sequence[tuple[str, str]]) -> None:
    """Refuse a setting that no stage of the workflow has."""
    known = sorted({name for job in plan(workflow) for name in job.settings})
    for name, _ in settings:
        if name not in known:
            raise InputError(f"--set {name}: no stage of {workflow} has it; there are {', '.join(known)}")


def _arguments(job: JobPlan, execution: Execution, settings: Sequence[tuple[str, str]]) -> list[str]:
    decided = [(parameter.option, resolve(value, execution.as_of)) for parameter, value in job.values.items()]
    chosen = [(job.settings[name].option, value) for name, value in settings if name in job.settings]
    return [word for option, value in [*decided, *chosen] for word in (option, value)]
