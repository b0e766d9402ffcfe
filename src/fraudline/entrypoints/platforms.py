"""The SageMaker services that run a stage: where each mounts channels, passes parameters and reads messages.

Processing, Training and Hosting each have their own folders and files below /opt/ml. FRAUDLINE_ML_ROOT names another
root for a stage that runs without a container.

Sources: SageMaker's developer guide, "Build your own processing container", "Use your own training algorithms" and
"Use your own inference code".
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fraudline.catalog.environment import ML_ROOT, TRAINING_JOB_ARN, TRAINING_JOB_NAME
from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Job
from fraudline.catalog.stage import SUMMARY, Stage

MESSAGE_BYTES = 1024


class Platform(ABC):
    """A SageMaker service as one stage sees it.

    Args:
        stage: the stage that runs.
        root: what the service mounts as /opt/ml.
    """

    def __init__(self, stage: Stage, root: Path) -> None:
        self.stage = stage
        self.root = root

    @abstractmethod
    def input_folders(self) -> dict[str, str]:
        """Return the usual folder of each input channel."""

    @abstractmethod
    def output_folders(self) -> dict[str, str]:
        """Return the usual folder of each output that the service keeps."""

    def inputs(self) -> dict[str, str]:
        """Return the folder of each input channel in this job."""
        return self.input_folders()

    def outputs(self) -> dict[str, str]:
        """Return the folder of each output in this job."""
        return self.output_folders()

    def uploads(self) -> dict[str, str]:
        """Return the s3:// prefix to which the service uploads each output once the stage has ended."""
        return {}

    def checkpoints(self) -> Path | None:
        """Return the folder that outlives an interrupted job, None where there is none."""
        return None

    def job(self) -> Job | None:
        """Return the job that runs the stage, None where the service does not name it."""
        return None

    def hyperparameters(self) -> dict[str, str]:
        """Return the parameters that the service passes in a file, as texts by name."""
        return {}

    @abstractmethod
    def check_configuration(self) -> None:
        """Raise InputError where the job is configured for something that the stage does not do."""

    @abstractmethod
    def leave_message(self, text: str, *, failed: bool) -> None:
        """Write the message by which a stage ends to where the service reads it."""

    def _config(self, name: str) -> dict[str, Any]:
        """Read a JSON object that the service wrote, empty where there is no such file."""
        path = self.root / name
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(f"{path} is not JSON ({error}); SageMaker writes it: start the job again") from error
        if not isinstance(content, dict):
            raise InputError(f"{path} must be a JSON object, got {type(content).__name__}; start the job again")
        return content

    def _check_instances(self, resources: Mapping[str, Any]) -> None:
        hosts = resources.get("hosts") or []
        if len(hosts) > 1:
            raise InputError(
                f"{self.stage.name} runs on one instance, this job has {len(hosts)}, each of which would do all the "
                "work; set the job's instance count to 1, and choose a larger instance type if one is too small"
            )

    def _write_message(self, name: str, text: str, mode: Literal["wb", "xb"]) -> None:
        # Whole characters: SageMaker fails a job whose message is not UTF-8.
        content = text.encode()[:MESSAGE_BYTES].decode(errors="ignore").encode()
        path = self.root / "output" / name
        # Where the folder is read-only or another user's, the exit code and the log still report the end.
        with suppress(OSError):
            if self.root.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open(mode) as file:
                    file.write(content)


class Processing(Platform):
    """A Processing job; its configuration may name other folders than the usual ones."""

    def input_folders(self) -> dict[str, str]:
        """Return the usual folder of each input channel."""
        return {channel.name: str(self.root / "processing/input" / channel.name) for channel in self.stage.reads}

    def output_folders(self) -> dict[str, str]:
        """Return the usual folder of each output channel, and of the summary."""
        names = [*(channel.name for channel in self.stage.writes), SUMMARY]
        return {name: str(self.root / "processing/output" / name) for name in names}

    def inputs(self) -> dict[str, str]:
        """Return the folder of each input channel in this job."""
        configured = {item["InputName"]: _s3_part(item, "S3Input").get("LocalPath") for item in self._job_inputs()}
        return {name: configured.get(name) or folder for name, folder in self.input_folders().items()}

    def outputs(self) -> dict[str, str]:
        """Return the folder of each output channel, and of the summary, in this job."""
        configured = {item["OutputName"]: _s3_part(item, "S3Output").get("LocalPath") for item in self._job_outputs()}
        return {name: configured.get(name) or folder for name, folder in self.output_folders().items()}

    def uploads(self) -> dict[str, str]:
        """Return the s3:// prefix of each output in this job, also where the job uploads a folder that contains it."""
        uris = {}
        for item in self._job_outputs():
            target = _s3_part(item, "S3Output")
            uri, path = target.get("S3Uri") or "", target.get("LocalPath")
            for name, folder in self.outputs().items():
                if path and uri.startswith("s3://") and Path(folder).is_relative_to(path):
                    below = Path(folder).relative_to(path).as_posix()
                    uris[name] = f"{uri.rstrip('/')}/" if below == "." else f"{uri.rstrip('/')}/{below}/"
        return uris

    def check_configuration(self) -> None:
        """Raise InputError for several instances or input mode Pipe."""
        self._check_instances(self._config("config/resourceconfig.json"))
        _check_modes(
            {item["InputName"]: _s3_part(item, "S3Input").get("S3InputMode") for item in self._job_inputs()}.items()
        )

    def leave_message(self, text: str, *, failed: bool) -> None:
        """Write the job's ExitMessage."""
        self._write_message("message", text, "wb")

    def _job(self) -> dict[str, Any]:
        return self._config("config/processingjobconfig.json")

    def _job_inputs(self) -> list[dict[str, Any]]:
        return self._job().get("ProcessingInputs") or []

    def _job_outputs(self) -> list[dict[str, Any]]:
        return (self._job().get("ProcessingOutputConfig") or {}).get("Outputs") or []


class Training(Platform):
    """A Training job; it keeps /opt/ml/model and nothing else, so the summary lies inside."""

    def input_folders(self) -> dict[str, str]:
        """Return the folder of each input channel."""
        return {channel.name: str(self.root / "input/data" / channel.name) for channel in self.stage.reads}

    def output_folders(self) -> dict[str, str]:
        """Return the folder of each output channel."""
        return {channel.name: str(self.root / channel.name) for channel in self.stage.writes}

    def checkpoints(self) -> Path | None:
        """Return the folder that SageMaker syncs with S3; it exists only where the job asks for checkpoints."""
        folder = self.root / "checkpoints"
        return folder if folder.is_dir() else None

    def job(self) -> Job | None:
        """Return the Training job; local mode gives the name alone."""
        name, arn = TRAINING_JOB_NAME.value(), TRAINING_JOB_ARN.value()
        return Job(name, arn) if name or arn else None

    def hyperparameters(self) -> dict[str, str]:
        """Return the job's hyperparameters."""
        values = self._config("input/config/hyperparameters.json")
        # SageMaker's own clients add some for their containers.
        own = {name: value for name, value in values.items() if not name.startswith("sagemaker_")}
        return {name.replace("-", "_"): str(value) for name, value in own.items()}

    def check_configuration(self) -> None:
        """Raise InputError for several instances or input mode Pipe."""
        self._check_instances(self._config("input/config/resourceconfig.json"))
        channels = self._config("input/config/inputdataconfig.json")
        _check_modes((name, item.get("TrainingInputMode")) for name, item in channels.items())

    def leave_message(self, text: str, *, failed: bool) -> None:
        """Write the job's FailureReason; an earlier one holds the first cause and stays."""
        if failed:
            self._write_message("failure", text, "xb")


class Hosting(Platform):
    """A server behind an endpoint; it reads the model and leaves nothing but its log."""

    def input_folders(self) -> dict[str, str]:
        """Return the folder of each input channel."""
        return {channel.name: str(self.root / channel.name) for channel in self.stage.reads}

    def output_folders(self) -> dict[str, str]:
        """Return no folder."""
        return {}

    def check_configuration(self) -> None:
        """Accept any endpoint: Hosting writes no configuration."""

    def leave_message(self, text: str, *, failed: bool) -> None:
        """Leave nothing: Hosting reads no message."""


_PLATFORMS: Mapping[str, type[Platform]] = {"processing": Processing, "training": Training, "hosting": Hosting}


def platform_of(stage: Stage) -> Platform:
    """Return the platform that runs a stage here, below the root that the environment names."""
    return _PLATFORMS[stage.platform](stage, Path(ML_ROOT.value()))


def input_folders(stage: Stage) -> dict[str, str]:
    """Return the usual folder of each input channel inside a container."""
    return _in_container(stage).input_folders()


def output_folders(stage: Stage) -> dict[str, str]:
    """Return the usual folder inside a container of each output that the platform keeps."""
    return _in_container(stage).output_folders()


def _in_container(stage: Stage) -> Platform:
    return _PLATFORMS[stage.platform](stage, Path(ML_ROOT.default))


def _s3_part(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the S3 part of a Processing job's input or output, empty where it has another kind."""
    part: Mapping[str, Any] = item.get(key) or {}
    return part


def _check_modes(modes: Iterable[tuple[str, str | None]]) -> None:
    for name, mode in modes:
        if mode == "Pipe":
            raise InputError(
                f"channel '{name}': its input mode is Pipe, expected File or FastFile; set that in the job"
            )
