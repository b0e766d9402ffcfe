"""Runs a Glue job as Spark does: a script and its arguments, in a Spark that is there already."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

JOBS = Path(__file__).parents[2] / "glue" / "jobs"


def run_job(job: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], **texts: Any) -> None:
    places = [f"--input-{name}={place}" for name, place in inputs.items()]
    places += [f"--output-{name}={place}" for name, place in outputs.items()]
    values = [f"--{name.replace('_', '-')}={value}" for name, value in texts.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{job}.py", *places, *values])
        runpy.run_path(str(JOBS / f"{job}.py"), run_name="__main__")
