"""A workflow, stage by stage, over folders below one root."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraudline.errors import InputError
from fraudline.local.carriers import Carrier, Finished
from fraudline.local.journal import Journal, Run, locked
from fraudline.stage import POINTER_FILE, SUMMARY, SUMMARY_FILE, Parameter, Stage
from fraudline.workflow import CHAMPION, LABELS, RAW, WORKFLOWS, Execution

Observer = Callable[[Stage, Finished | None], None]


@dataclass(frozen=True)
class Places:
    """Where a workflow's addresses lie: ``data`` holds raw/ and labeled/, ``root`` all the rest."""

    data: Path
    root: Path

    def path(self, relative: str) -> Path:
        """An address or a prefix as a folder."""
        inputs = (RAW.template, LABELS.template)
        return (self.data if relative in inputs else self.root) / relative

    def prepare(self) -> None:
        """Write the pointer to no champion into a new root; in a used one its absence is an error."""
        pointer = self.path(CHAMPION.template) / POINTER_FILE
        if not pointer.exists() and not (self.root / "executions").exists():
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.write_text(json.dumps({"champion": None}) + "\n")


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
    folder = places.path(f"executions/{execution.id}")
    folder.mkdir(parents=True, exist_ok=True)
    summaries = {}
    with locked(folder) as lock:
        journal = Journal(folder)
        for step in WORKFLOWS[execution.workflow]:
            inputs = {name: places.path(place) for name, place in execution.inputs(step).items()}
            outputs = {name: places.path(place) for name, place in execution.outputs(step).items()}
            arguments = _arguments(step.stage, execution, settings)
            stage_run = Run(step.stage, [carrier.version(step.stage), *arguments], inputs, outputs)
            finished = None if anew else journal.finished(stage_run)
            if finished is None:
                anew = True  # what follows would read what is written now
                observe(step.stage, None)
                for path in outputs.values():
                    path.mkdir(parents=True, exist_ok=True)
                journal.begin(stage_run)
                finished = carrier.run(step.stage, inputs, outputs, arguments, lock)
                journal.end(stage_run, finished)
            observe(step.stage, finished)
            summaries[step.stage.name] = json.loads((outputs[SUMMARY] / SUMMARY_FILE).read_text())
    return summaries


def check(workflow: str, settings: Sequence[tuple[str, str]]) -> None:
    """Refuse a setting that no stage of the workflow has."""
    known = {parameter.name for step in WORKFLOWS[workflow] for parameter in step.stage.parameters}
    for name, _ in settings:
        if name not in known:
            raise InputError(f"--set {name}: no stage of {workflow} has it; there are {', '.join(sorted(known))}")


def _arguments(stage: Stage, execution: Execution, settings: Sequence[tuple[str, str]]) -> list[str]:
    known: Mapping[str, Parameter] = {parameter.name: parameter for parameter in stage.parameters}
    given = [("as_of", str(execution.as_of)), ("execution", execution.id), *settings]
    return [word for name, value in given if name in known for word in (known[name].option, value)]
