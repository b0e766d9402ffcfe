"""Run stages and workflows inside the test's own process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fraudline.catalog import dictionary
from fraudline.catalog.plan import Location, plan
from fraudline.catalog.stage import WATCHED
from fraudline.catalog.stages import STAGES
from fraudline.catalog.templates import resolve
from fraudline.entrypoints import parameters
from fraudline.entrypoints.run import call
from fraudline.runtime import s3
from fraudline.runtime.channels import Channels


def run_stage(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **texts: Any) -> dict[str, Any]:
    """Run a stage over locations and parameters, and return its summary."""
    stage = STAGES[name]
    values = parameters.parse(stage, {key: str(value) for key, value in texts.items()})
    for location in outputs.values():
        if not s3.is_uri(str(location)):
            Path(location).mkdir(parents=True, exist_ok=True)
    with Channels(stage, _as_text(inputs), _as_text(outputs)) as channels:
        summary = call(stage, channels, values)
        channels.commit(summary, replace=values.get("replace", False))
    assert set(summary.get(WATCHED, {})) == {metric.name for metric in stage.metrics}  # an alarm waits for each
    assert list(dictionary.undescribed(name, summary)) == [], "describe these keys in fraudline/catalog/dictionary.py"
    return summary


def _as_text(locations: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(location) for name, location in locations.items()}


def run_workflow(
    workflow: str, as_of: date, data: Path, root: Path, until: str | None = None, **texts: Any
) -> dict[str, Any]:
    """Run a workflow's stages, up to and with ``until``, and return their summaries."""
    summaries: dict[str, Any] = {}

    def path(location: Location) -> Path:
        return {"data": data, "root": root}[location.base] / resolve(location.template, as_of)

    for job in plan(workflow):
        stage = job.stage
        values = {parameter.name: resolve(value, as_of) for parameter, value in job.values.items()} | texts
        names = {parameter.name for parameter in stage.parameters}
        summaries[stage.name] = run_stage(
            stage.name,
            {name: path(location) for name, location in job.inputs.items()},
            {name: path(location) for name, location in job.outputs.items()},
            **{name: value for name, value in values.items() if name in names},
        )
        if stage.name == until:
            break
    return summaries


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]
