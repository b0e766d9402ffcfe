"""Run pipeline.py in the interpreter that has the SageMaker SDK, and read its definitions as SageMaker would."""

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
    """Run pipeline.py without this computer's environment: no credentials, no region, no home."""
    assert PYTHON.exists(), f"{PYTHON} has the SageMaker SDK and is missing; create it with: make pipeline-setup"
    return subprocess.run(
        [str(PYTHON), str(REPOSITORY / "pipeline.py"), *arguments],
        env={"PYTHONPATH": str(REPOSITORY / "src"), "HOME": "/nowhere"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@cache
def definition_text(workflow: str) -> str:
    """Return the definition with the images that are built here."""
    process = run("definition", "--workflow", workflow)
    assert process.returncode == 0, process.stderr
    return process.stdout


def jobs(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every Processing and Training step in order, those behind a condition too."""
    for step in steps:
        if step["Type"] == "Condition":
            yield from jobs(step["Arguments"]["IfSteps"])
            yield from jobs(step["Arguments"]["ElseSteps"])
        elif step["Type"] in ("Processing", "Training"):
            yield step


def resolved(definition: dict[str, Any], parameters: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the arguments of each step by its name, with every expression evaluated as in an execution.

    Args:
        definition: a pipeline's definition.
        parameters: the execution's; the others have their defaults.
    """
    defaults = {parameter["Name"]: parameter.get("DefaultValue") for parameter in definition["Parameters"]}
    assert set(parameters) <= set(defaults)
    values = {f"Parameters.{name}": value for name, value in {**defaults, **parameters}.items()}
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
    """Return the pipeline's parameters that an expression uses."""
    return set(re.findall(r"'Parameters\.(\w+)'", repr(expression)))
