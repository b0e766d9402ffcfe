"""The launcher that needs nothing but Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from fraudline.catalog.environment import LOG
from fraudline.catalog.stage import Stage
from fraudline.orchestration.local.launchers.launcher import Finished
from fraudline.orchestration.local.launchers.stage_log import follow

_PACKAGE = Path(__file__).parents[3]


class ProcessLauncher:
    """Runs each stage in a Python process of its own, with the command that its container runs."""

    def version(self, stage: Stage) -> str:
        """Return a hash of all sources, so that every change of a developer counts."""
        return sha256(b"".join(path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py")))).hexdigest()

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run a stage to its end."""
        command = [sys.executable, "-m", "fraudline", stage.name, *arguments]
        command += [word for name, path in inputs.items() for word in ("--input", f"{name}={path}")]
        command += [word for name, path in outputs.items() for word in ("--output", f"{name}={path}")]
        process = subprocess.Popen(  # noqa: S603
            command, stderr=subprocess.PIPE, text=True, pass_fds=[lock], env=os.environ | {LOG.name: "json"}
        )
        with process, closing(process.stderr or ()) as lines:  # type: ignore[type-var]
            try:
                return follow(stage, lines, process.wait)
            finally:
                process.terminate()  # a run that is stopped stops its stage
