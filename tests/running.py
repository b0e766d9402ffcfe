"""Runs stages inside the test's own process, as a host does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fraudline import s3
from fraudline.channel import Channels
from fraudline.hosts import parameters
from fraudline.stage import WATCHED
from fraudline.stages import STAGES
from fraudline.workflow import WORKFLOWS, Execution


def run_stage(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **texts: Any) -> dict[str, Any]:
    stage = STAGES[name]
    values = parameters.parse(stage, {key: str(value) for key, value in texts.items()})
    places = {key: str(place) for key, place in inputs.items()}, {key: str(place) for key, place in outputs.items()}
    for place in places[1].values():
        if not s3.is_uri(place):
            Path(place).mkdir(parents=True, exist_ok=True)
    with Channels(stage, *places) as channels:
        summary = stage.run(channels, **values)
        channels.commit(summary, replace=values.get("replace", False))
    assert set(summary.get(WATCHED, {})) == {metric.name for metric in stage.watches}  # an alarm waits for each
    return summary


def run_workflow(
    workflow: str, as_of: date, data: Path, root: Path, until: str | None = None, **texts: Any
) -> dict[str, Any]:
    """The summaries of a workflow's stages, up to and with ``until``."""
    execution, summaries = Execution(workflow, as_of), {}
    for step in WORKFLOWS[workflow]:
        stage = step.stage
        known = {parameter.name for parameter in stage.parameters}
        given = {"as_of": as_of, "execution": execution.id} | texts

        def path(place: str) -> Path:
            return (data if place in ("raw/", "labeled/") else root) / place

        summaries[stage.name] = run_stage(
            stage.name,
            {name: path(place) for name, place in execution.inputs(step).items()},
            {name: path(place) for name, place in execution.outputs(step).items()},
            **{name: value for name, value in given.items() if name in known},
        )
        if stage.name == until:
            break
    return summaries


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]
