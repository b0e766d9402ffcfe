"""What carries a stage on this machine: a process of its own, or a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from fraudline.catalog.environment import LOG
from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import SUMMARY, Stage
from fraudline.entrypoints.platforms import input_folders, output_folders


class StageError(Exception):
    """A stage ended with another exit ``code`` than 0; its text is the stage's own message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Finished:
    """What a stage measured of itself."""

    rows: int | None
    seconds: float
    cpu_seconds: float
    peak_mb: int
    before: bool = False  # by an earlier run, from which this one goes on


class Carrier(Protocol):
    """Runs a stage over folders."""

    def version(self, stage: Stage) -> str:
        """Changes whenever the code does that would run a stage."""

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run it to its end; ``lock`` is an open file that stays open as long as the stage runs.

        Raises:
            StageError: it did not end well.
        """


class Processes:
    """Each stage in a Python process of its own, as in its container."""

    def version(self, stage: Stage) -> str:
        """The sources' own, so that a developer's change counts."""
        package = Path(__file__).parents[2]
        return sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run it to its end."""
        command = [sys.executable, "-m", "fraudline", stage.name, *arguments]
        command += [word for name, path in inputs.items() for word in ("--input", f"{name}={path}")]
        command += [word for name, path in outputs.items() for word in ("--output", f"{name}={path}")]
        environment = os.environ | {LOG.name: "json"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=[lock], env=environment)  # noqa: S603
        with process, closing(process.stderr or ()) as lines:  # type: ignore[type-var]
            try:
                return _follow(lines, process.wait)
            finally:
                process.terminate()  # where this run is stopped, so is the stage


class Docker:
    """Each stage in its image, with the mounts and the rights that it needs and no more."""

    def __init__(self, registry: str, version: str) -> None:
        import docker  # noqa: PLC0415 - not needed to run in processes

        self._registry, self._version = registry, version
        try:
            self._client = docker.from_env()
            self._client.ping()
        except docker.errors.DockerException as error:
            raise InputError(f"no Docker engine answers ({error}); start one, or run --in process") from error

    def version(self, stage: Stage) -> str:
        """The image's own."""
        return str(self._image(stage).id)

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run it to its end, as the user who calls."""
        # Named by what it writes: the container of a run that was killed must not write beside this one's.
        name = f"fraudline-{stage.name}-{sha256(str(outputs[SUMMARY].resolve()).encode()).hexdigest()[:12]}"
        self._remove(name)
        places, command = self._mounts(stage, inputs, outputs)
        container = self._client.containers.run(
            self._image(stage),
            [stage.name, *arguments, *command],
            name=name,
            detach=True,
            environment={LOG.name: "json"},
            user=f"{os.getuid()}:{os.getgid()}",
            volumes=places,
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": ""},  # noqa: S108 - the container's own
            cap_drop=["ALL"],
        )
        try:
            return _follow(_lines(container.logs(stream=True, follow=True)), lambda: container.wait()["StatusCode"])
        finally:
            container.remove(force=True)

    def _image(self, stage: Stage) -> Any:
        import docker  # noqa: PLC0415

        image = f"{self._registry}fraudline/{stage.image}:{self._version}"
        try:
            return self._client.images.get(image)
        except docker.errors.ImageNotFound as error:
            raise InputError(f"there is no image {image}; build it with make images") from error

    def _remove(self, name: str) -> None:
        for container in self._client.containers.list(all=True, filters={"name": f"^{name}$"}):
            container.remove(force=True)

    @staticmethod
    def _mounts(stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> tuple[list[str], list[str]]:
        """Volumes, and the arguments that name places which /opt/ml has no rule for."""
        into = input_folders(stage), output_folders(stage)
        command = []
        for name in set(outputs) - set(into[1]):
            into[1][name] = f"/opt/ml/processing/output/{name}"
            command += ["--output", f"{name}={into[1][name]}"]
        for channel in stage.reads:
            if channel.published and channel.name in inputs:  # what it goes back to lies beside it
                path = inputs[channel.name]
                command += ["--input", f"{channel.name}={into[0][channel.name]}/{path.name}"]
                inputs = {**inputs, channel.name: path.parent}
        volumes = [f"{path.resolve()}:{into[0][name]}:ro" for name, path in inputs.items() if path.exists()]
        return volumes + [f"{path.resolve()}:{into[1][name]}:rw" for name, path in outputs.items()], command


CARRIERS = ("process", "docker")


def carrier(name: str, registry: str, version: str) -> Carrier:
    """The carrier of that name."""
    return Docker(registry, version) if name == "docker" else Processes()


def _follow(lines: Iterable[str], wait: Any) -> Finished:
    """Read a stage's log to its end; what it measured, or its last error."""
    finished: dict[str, Any] = {}
    problems: list[str] = []
    for line in lines:
        entry = _entry(line)
        if entry.get("event") == "finished":
            finished = entry
        if entry.get("level") in ("ERROR", "CRITICAL", None):
            problems.append("\n".join(filter(None, [entry.get("message"), entry.get("exception")])))
    code = wait()
    if code or not finished:
        raise StageError(problems[-1] if problems else f"ended with code {code} and said nothing", code or 1)
    return Finished(*(finished[key] for key in ("rows", "seconds", "cpu_seconds", "peak_mb")))


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"message": line.rstrip()}


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines; the engine sends a log in chunks."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
