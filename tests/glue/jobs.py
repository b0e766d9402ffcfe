"""Run a Glue job's script with its arguments, in a Spark session that exists already."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

JOBS = Path(__file__).parents[2] / "glue" / "jobs"


def run_job(job: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], **values: Any) -> None:
    """Run a job on folders or s3:// prefixes; ``values`` are its parameters."""
    arguments = [f"--input-{name}={location}" for name, location in inputs.items()]
    arguments += [f"--output-{name}={location}" for name, location in outputs.items()]
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{job}.py", *arguments])
        runpy.run_path(str(JOBS / f"{job}.py"), run_name="__main__")
