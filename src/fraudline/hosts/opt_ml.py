"""The folders and files by which SageMaker speaks to a container, below /opt/ml."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fraudline.errors import InputError
from fraudline.stage import SUMMARY, Stage

ROOT_VARIABLE = "FRAUDLINE_ML_ROOT"
MESSAGE_BYTES = 1024


def root() -> Path:
    """/opt/ml, or wherever the environment says: a stage without a container has its own."""
    return Path(os.environ.get(ROOT_VARIABLE, "/opt/ml"))


def inputs(stage: Stage) -> dict[str, str]:
    """Where the host puts each channel that is read: Processing, Training and Hosting each have their rule."""
    below = {"processing": "processing/input", "training": "input/data", "hosting": ""}[stage.host]
    return {channel.name: str(root() / below / channel.name) for channel in stage.reads}


def outputs(stage: Stage) -> dict[str, str]:
    """Where the host looks for each channel that is written, and for the summary."""
    if stage.host == "processing":
        names = [*(channel.name for channel in stage.writes), SUMMARY]
        return {name: str(root() / "processing" / "output" / name) for name in names}
    # Training uploads /opt/ml/model and nothing else; the stage puts its summary inside.
    return {channel.name: str(root() / channel.name) for channel in stage.writes}


def hyperparameters(stage: Stage) -> dict[str, str]:
    """What SageMaker Training passes instead of arguments: a flat object of strings."""
    path = root() / "input" / "config" / "hyperparameters.json"
    if stage.host != "training" or not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"hyperparameters.json is not JSON: {error}") from error
    return {name.replace("-", "_"): str(value) for name, value in values.items()}


def leave_message(stage: Stage, text: str, *, failed: bool) -> None:
    """Where the orchestrator looks for a stage's last words: at most 1,024 bytes of UTF-8.

    A failure file that is there already tells the first cause and is kept.
    """
    if stage.host == "hosting" or (stage.host == "training" and not failed) or not root().is_dir():
        return
    path = root() / "output" / ("failure" if stage.host == "training" else "message")
    if path.exists() and failed and stage.host == "training":
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode()[:MESSAGE_BYTES].decode(errors="ignore").encode())
    except OSError:
        return  # a read-only root: the exit code and the log still tell
