"""Run a workflow stage by stage over folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import JobPlan, Location, plan
from fraudline.catalog.stage import NO_CHAMPION, POINTER_FILE, SUMMARY, SUMMARY_FILE, Stage
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import CHAMPION, Execution
from fraudline.orchestration.local.journal import Journal, StageRun, locked
from fraudline.orchestration.local.launchers import Finished, Launcher

Observer = Callable[[Stage, Finished | None], None]


@dataclass(frozen=True)
class Folders:
    """The base folders of a site.

    Attributes:
        data: holds raw/ and labeled/.
        root: holds all that is written.
    """

    data: Path
    root: Path

    def path(self, location: Location, as_of: date) -> Path:
        """Return a location as a folder."""
        return {"data": self.data, "root": self.root}[location.base] / resolve(location.template, as_of)

    def execution(self, execution: Execution) -> Path:
        """Return the folder of an execution."""
        return self.root / "executions" / execution.id

    @property
    def champion(self) -> Path:
        """Return the file that names the champion."""
        return self.root / CHAMPION.template / POINTER_FILE

    def prepare(self) -> None:
        """Write the pointer to no champion into a new root; in a used one its absence is an error."""
        if not self.champion.exists() and not (self.root / "executions").exists():
            self.champion.parent.mkdir(parents=True, exist_ok=True)
            self.champion.write_text(NO_CHAMPION)


def run(
    execution: Execution,
    folders: Folders,
    launcher: Launcher,
    settings: Sequence[tuple[str, str]],
    observe: Observer,
    *,
    from_start: bool = False,
) -> dict[str, Any]:
    """Run the stages of an execution, from the first that has not finished with the same settings and inputs.

    Args:
        execution: which workflow, as of which day.
        folders: where its channels lie.
        launcher: runs one stage.
        settings: stage settings by name, for each stage that has them.
        observe: called with each stage and None when it starts, and with its measurements when it has finished.
        from_start: run finished stages again.

    Returns:
        Each stage's summary, by the stage's name.

    Raises:
        InputError: another run holds the execution.
        StageError: a stage failed.
    """
    folders.prepare()
    folder = folders.execution(execution)
    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    with locked(folder) as lock:
        journal = Journal(folder)
        for job in plan(execution.workflow):
            arguments = _arguments(job, execution, settings)
            stage_run = StageRun(
                job.stage,
                [launcher.version(job.stage), *arguments],
                {name: folders.path(location, execution.as_of) for name, location in job.inputs.items()},
                {name: folders.path(location, execution.as_of) for name, location in job.outputs.items()},
            )
            finished = None if from_start else journal.finished(stage_run)
            if finished is None:
                from_start = True  # the stages that follow read what this one is about to write
                observe(job.stage, None)
                finished = _launch(stage_run, launcher, arguments, journal, lock)
            observe(job.stage, finished)
            summaries[job.stage.name] = json.loads((stage_run.outputs[SUMMARY] / SUMMARY_FILE).read_text())
    return summaries


def _launch(stage_run: StageRun, launcher: Launcher, arguments: Sequence[str], journal: Journal, lock: int) -> Finished:
    for path in stage_run.outputs.values():
        path.mkdir(parents=True, exist_ok=True)
    journal.begin(stage_run)
    finished = launcher.run(stage_run.stage, stage_run.inputs, stage_run.outputs, arguments, lock)
    journal.end(stage_run, finished)
    return finished


def check(workflows: Sequence[str], settings: Sequence[tuple[str, str]]) -> None:
    """Refuse a setting that no stage of some workflows has."""
    names = sorted({name for workflow in workflows for job in plan(workflow) for name in job.settings})
    for name, _ in settings:
        if name not in names:
            raise InputError(f"--set {name}: no stage of {' or '.join(workflows)} has it; they have {', '.join(names)}")


def _arguments(job: JobPlan, execution: Execution, settings: Sequence[tuple[str, str]]) -> list[str]:
    decided = [(parameter.option, resolve(value, execution.as_of)) for parameter, value in job.values.items()]
    chosen = [(job.settings[name].option, value) for name, value in settings if name in job.settings]
    return [word for option, value in [*decided, *chosen] for word in (option, value)]
