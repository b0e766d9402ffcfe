"""Jobs as SageMaker runs them: a folder mounted as /opt/ml, a command, and what the job leaves there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraudline.catalog.environment import LOG, ML_ROOT
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints.run import INPUT_REJECTED

VERSION = os.environ.get("VERSION", "dev")


@dataclass(frozen=True)
class Result:
    """A job that ended: its exit code, its log as text, and the folder that was mounted as /opt/ml."""

    code: int
    text: str
    ml: Path

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log's lines, each a JSON object."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def message(self) -> str:
        """The message that SageMaker shows, without the prefix for orchestrators."""
        paths = [self.ml / "output" / name for name in ("message", "failure")]
        return "".join(path.read_text() for path in paths if path.is_file()).removeprefix(INPUT_REJECTED)

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.ml / "processing/output/summary/summary.json").read_text())
        return content

    @property
    def outputs(self) -> list[str]:
        """The files that SageMaker would upload."""
        folders = [self.ml / "processing" / "output", self.ml / "model"]
        return sorted(str(path.relative_to(self.ml)) for f in folders for path in f.rglob("*") if path.is_file())


def run(launcher: str, stage: str, ml: Path, *arguments: str, options: Sequence[str] = ()) -> Result:
    """Run a stage's job to its end, in a "process" or in "docker" (with ``options`` of docker run)."""
    (ml / "output").mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if launcher == "process":
        environment |= {ML_ROOT.name: str(ml), LOG.name: "json"}
        command = [sys.executable, "-m", "fraudline", stage, *arguments]
    else:
        command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml", *options, image(stage), stage, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return Result(ended.returncode, ended.stderr, ml)


def image(stage: str) -> str:
    """Return the image of a stage."""
    return tagged(STAGES[stage].image)


def tagged(image: str) -> str:
    """Return an image with the tag under test: of a release, or of development."""
    return f"fraudline/{image}:{VERSION}"
