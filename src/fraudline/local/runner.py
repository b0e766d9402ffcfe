"""A workflow, stage by stage, over folders below one root."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraudline.channel import POINTER_FILE
from fraudline.errors import InputError
from fraudline.local.carriers import Carrier, Finished
from fraudline.stage import SUMMARY_FILE, Parameter, Stage
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
    execution: Execution, places: Places, carrier: Carrier, settings: Sequence[tuple[str, str]], observe: Observer
) -> dict[str, Any]:
    """Run every stage of an execution.

    Args:
        execution: which workflow, as of which day.
        places: where its channels lie.
        carrier: runs one stage.
        settings: parameters by name, for each stage that has them.
        observe: told of each stage when it starts, and again when it has finished.

    Returns:
        Each stage's summary, by the stage's name.
    """
    places.prepare()
    summaries = {}
    for step in WORKFLOWS[execution.workflow]:
        stage = step.stage
        observe(stage, None)
        inputs = {name: places.path(place) for name, place in execution.inputs(step).items()}
        outputs = {name: places.path(place) for name, place in execution.outputs(step).items()}
        for path in outputs.values():
            path.mkdir(parents=True, exist_ok=True)
        observe(stage, carrier.run(stage, inputs, outputs, _arguments(stage, execution, settings)))
        summaries[stage.name] = json.loads((outputs["summary"] / SUMMARY_FILE).read_text())
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
