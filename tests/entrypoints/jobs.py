"""Jobs as SageMaker runs them: a folder for /opt/ml, a command, and what is left at the end."""

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
class Ended:
    """Exit code, log as written, and the folder that was /opt/ml."""

    code: int
    text: str
    ml: Path

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def message(self) -> str:
        """What the host shows, of Processing the message, of Training the failure; without the word for machines."""
        paths = [self.ml / "output" / name for name in ("message", "failure")]
        return "".join(path.read_text() for path in paths if path.is_file()).removeprefix(INPUT_REJECTED)

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.ml / "processing/output/summary/summary.json").read_text())
        return content

    @property
    def outputs(self) -> list[str]:
        """Files that the host would upload."""
        folders = [self.ml / "processing" / "output", self.ml / "model"]
        return sorted(str(path.relative_to(self.ml)) for f in folders for path in f.rglob("*") if path.is_file())


def run(carrier: str, stage: str, ml: Path, *arguments: str, options: Sequence[str] = ()) -> Ended:
    """Run a stage's job to its end, in a process or in its image (``options`` are of docker run)."""
    (ml / "output").mkdir(parents=True, exist_ok=True)
    if carrier == "process":
        environment = os.environ | {ML_ROOT.name: str(ml), LOG.name: "json"}
        command = [sys.executable, "-m", "fraudline", stage, *arguments]
    else:
        environment = dict(os.environ)
        command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml", *options, image(stage), stage, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return Ended(ended.returncode, ended.stderr, ml)


def image(stage: str) -> str:
    """The image of a stage."""
    return tagged(STAGES[stage].image)


def tagged(image: str) -> str:
    """An image as it is about to be published, or as it is while it is developed."""
    return f"fraudline/{image}:{VERSION}"
