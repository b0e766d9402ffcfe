"""The folders and files by which SageMaker speaks to a container, below /opt/ml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Job
from fraudline.catalog.stage import SUMMARY, Stage

ROOT_VARIABLE = "FRAUDLINE_ML_ROOT"
MESSAGE_BYTES = 1024


def root() -> Path:
    """/opt/ml, or wherever the environment says: a stage without a container has its own."""
    return Path(os.environ.get(ROOT_VARIABLE, "/opt/ml"))


def inputs(stage: Stage) -> dict[str, str]:
    """Where the host puts each channel that is read: Processing, Training and Hosting each have their rule."""
    below = {"processing": "processing/input", "training": "input/data", "hosting": ""}[stage.platform]
    usual = {channel.name: str(root() / below / channel.name) for channel in stage.reads}
    told = _told(stage, _processing_job().get("ProcessingInputs"), "InputName", "S3Input")
    return {name: told.get(name, place) for name, place in usual.items()}


def outputs(stage: Stage) -> dict[str, str]:
    """Where the host looks for each channel that is written, and for the summary."""
    if stage.platform != "processing":
        # Training uploads /opt/ml/model and nothing else; the stage puts its summary inside.
        return {channel.name: str(root() / channel.name) for channel in stage.writes}
    names = [*(channel.name for channel in stage.writes), SUMMARY]
    config = _processing_job().get("ProcessingOutputConfig") or {}
    told = _told(stage, config.get("Outputs"), "OutputName", "S3Output")
    return {name: told.get(name, str(root() / "processing" / "output" / name)) for name in names}


def checkpoints(stage: Stage) -> Path | None:
    """The folder that SageMaker copies to S3 and back when a training goes on elsewhere; it makes it where asked to."""
    folder = root() / "checkpoints"
    return folder if stage.platform == "training" and folder.is_dir() else None


def job(stage: Stage) -> Job | None:
    """Return the Training job that runs a stage, None outside SageMaker Training.

    Its environment names the job (docs.aws.amazon.com/sagemaker/latest/dg/
    your-algorithms-training-algo-running-container.html); local mode gives the name alone.
    """
    name, arn = os.environ.get("TRAINING_JOB_NAME"), os.environ.get("TRAINING_JOB_ARN")
    return Job(name, arn) if stage.platform == "training" and (name or arn) else None


def hyperparameters(stage: Stage) -> dict[str, str]:
    """What SageMaker Training passes instead of arguments: a flat object of strings."""
    if stage.platform != "training":
        return {}
    values = _config("input/config/hyperparameters.json")
    # SageMaker's own clients add some of these for their containers.
    ours = {name: value for name, value in values.items() if not name.startswith("sagemaker_")}
    return {name.replace("-", "_"): str(value) for name, value in ours.items()}


def check(stage: Stage) -> None:
    """Refuse a job that is set up for what a stage does not do: several machines, or pipes instead of files.

    Raises:
        InputError: the job's configuration says so.
    """
    folder = {"processing": "config", "training": "input/config", "hosting": ""}[stage.platform]
    hosts = _config(f"{folder}/resourceconfig.json").get("hosts") or []
    if len(hosts) > 1:
        raise InputError(
            f"{stage.name} runs on one machine, this job has {len(hosts)}, which would each do all of it; "
            "set the job's instance count to 1, and take a larger instance where one is too small"
        )
    modes = {
        "processing": {
            item.get("InputName"): (item.get("S3Input") or {}).get("S3InputMode")
            for item in _processing_job().get("ProcessingInputs") or []
        },
        "training": {
            name: item.get("TrainingInputMode") for name, item in _config("input/config/inputdataconfig.json").items()
        },
        "hosting": {},
    }[stage.platform]
    for name, mode in modes.items():
        if mode == "Pipe":
            raise InputError(
                f"channel '{name}': its input mode is Pipe, expected File or FastFile; set that in the job"
            )


def _processing_job() -> dict[str, Any]:
    return _config("config/processingjobconfig.json")


def _told(stage: Stage, items: list[dict[str, Any]] | None, name: str, place: str) -> dict[str, str]:
    """Folders that a Processing job names, by channel: it may put them anywhere below /opt/ml/processing."""
    if stage.platform != "processing":
        return {}
    local = {item[name]: (item.get(place) or {}).get("LocalPath") for item in items or []}
    return {channel: path for channel, path in local.items() if path}


def _config(name: str) -> dict[str, Any]:
    path = root() / name
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); it is the host's to write: start the job again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a JSON object, got {type(content).__name__}; start the job again")
    return content


def leave_message(stage: Stage, text: str, *, failed: bool) -> None:
    """Where the orchestrator looks for a stage's last words: at most 1,024 bytes of UTF-8.

    A failure file that is there already tells the first cause and is kept.
    """
    if stage.platform == "hosting" or (stage.platform == "training" and not failed):
        return
    path = root() / "output" / ("failure" if stage.platform == "training" else "message")
    try:
        if not root().is_dir() or (stage.platform == "training" and path.exists()):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode()[:MESSAGE_BYTES].decode(errors="ignore").encode())
    except OSError:
        return  # read-only, or another user's: the exit code and the log still tell
