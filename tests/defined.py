"""Runs pipeline.py in the interpreter that has the SageMaker SDK, and reads what it defines as SageMaker would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PYTHON = Path(os.environ.get("FRAUDLINE_PIPELINE_PYTHON", REPOSITORY / ".venv-pipeline" / "bin" / "python"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pipeline.py with nothing of this machine's environment: no credentials, no region, no home."""
    assert PYTHON.exists(), f"{PYTHON} has the SageMaker SDK and is missing; make it with: make pipeline-setup"
    return subprocess.run(
        [str(PYTHON), str(REPOSITORY / "pipeline.py"), *arguments],
        env={"PYTHONPATH": str(REPOSITORY / "src"), "HOME": "/nowhere"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@cache
def printed(workflow: str) -> str:
    """A definition of the images as they are built here."""
    ended = run("definition", "--workflow", workflow)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def jobs(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every Processing and Training step, in order, those behind a condition too."""
    for step in steps:
        if step["Type"] == "Condition":
            yield from jobs(step["Arguments"]["IfSteps"])
            yield from jobs(step["Arguments"]["ElseSteps"])
        elif step["Type"] in ("Processing", "Training"):
            yield step


def resolved(definition: dict[str, Any], given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The steps' arguments by name, with every expression replaced by its value, as an execution would."""
    defaults = {parameter["Name"]: parameter.get("DefaultValue") for parameter in definition["Parameters"]}
    assert set(given) <= set(defaults)
    values = {f"Parameters.{name}": value for name, value in {**defaults, **given}.items()}
    assert None not in values.values()
    arguments: dict[str, dict[str, Any]] = {}
    for step in jobs(definition["Steps"]):
        arguments[step["Name"]] = request = _value(step["Arguments"], values)
        for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
            path = f"Steps.{step['Name']}.ProcessingOutputConfig.Outputs['{output['OutputName']}'].S3Output.S3Uri"
            values[path] = output["S3Output"]["S3Uri"]
        if step["Type"] == "Training":
            artifact = request["OutputDataConfig"]["S3OutputPath"] + "a-job/output/model.tar.gz"
            values[f"Steps.{step['Name']}.ModelArtifacts.S3ModelArtifacts"] = artifact
    return arguments


def _value(expression: Any, values: Mapping[str, Any]) -> Any:
    match expression:
        case {"Get": path}:
            return values[path]
        case {"Std:Join": {"On": on, "Values": parts}}:
            return on.join(_value(part, values) for part in parts)
        case dict():
            return {name: _value(value, values) for name, value in expression.items()}
        case list():
            return [_value(value, values) for value in expression]
    return expression


def parameters_in(expression: Any) -> set[str]:
    """The pipeline's parameters that an expression names."""
    return set(re.findall(r"'Parameters\.(\w+)'", repr(expression)))
