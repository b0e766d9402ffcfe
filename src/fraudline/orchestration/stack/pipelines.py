"""The pipelines of a stack whose engine is SageMaker Pipelines.

pipeline.py upserts them in the environment that has the SageMaker SDK, which is larger than everything else.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode

ENGINE = "SageMakerPipelines"
_PYTHON = Path(".venv-pipeline", "bin", "python")


def check_environment(repository: Path) -> None:
    """Raise InputError where the SDK's environment is missing, before anything is deployed."""
    if not (repository / _PYTHON).exists():
        raise InputError(f"{repository / _PYTHON} is missing: Engine={ENGINE} needs it; make pipeline-setup creates it")


def upsert(
    repository: Path, stack: str, values: Mapping[str, str], settings_file: Path | None, *, dry_run: bool
) -> None:
    """Create or update the pipelines of a stack.

    Args:
        repository: the folder of pipeline.py.
        stack: the stack's name; the stack exists.
        values: parameters that a deployment sets; a dry run has not deployed them.
        settings_file: the settings file, None for ./fraudline.toml if it exists.
        dry_run: show the difference and change nothing.

    Raises:
        InputError: pipeline.py failed; it has said why.
    """
    command = [str(repository / _PYTHON), str(repository / "pipeline.py"), "upsert", "--stack", stack]
    command += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    command += ["--settings", str(settings_file)] if settings_file else []
    command += ["--dry-run"] if dry_run else []
    process = subprocess.run(command, check=False)  # noqa: S603 - a script of this repository
    if process.returncode != ExitCode.OK:
        raise InputError(f"{stack} is deployed, its pipelines are not: correct what is written above and deploy again")
