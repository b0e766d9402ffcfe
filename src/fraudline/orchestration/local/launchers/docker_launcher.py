"""The launcher that runs the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from fraudline.catalog.environment import LOG
from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import SUMMARY, Stage
from fraudline.entrypoints.platforms import input_folders, output_folders
from fraudline.orchestration.local.launchers.launcher import Finished
from fraudline.orchestration.local.launchers.stage_log import follow, whole_lines


class DockerLauncher:
    """Runs each stage in its image, with the mounts and the rights that it needs and no more.

    Args:
        registry: how the images' names begin, such as ``HOST/``.
        version: their tag.
    """

    def __init__(self, registry: str, version: str) -> None:
        import docker  # noqa: PLC0415 - not needed to run in processes

        self._registry, self._version = registry, version
        try:
            self._client = docker.from_env()
            self._client.ping()
        except docker.errors.DockerException as error:
            raise InputError(f"no Docker engine answers ({error}); start one, or run --in process") from error

    def version(self, stage: Stage) -> str:
        """Return the id of the stage's image."""
        return str(self._image(stage).id)

    def run(
        self, stage: Stage, inputs: Mapping[str, Path], outputs: Mapping[str, Path], arguments: Sequence[str], lock: int
    ) -> Finished:
        """Run a stage to its end, as the user who calls; the container can't hold the lock."""
        # The name is a hash of where the stage writes: the container of a killed run must not write beside this one.
        name = f"fraudline-{stage.name}-{sha256(str(outputs[SUMMARY].resolve()).encode()).hexdigest()[:12]}"
        self._remove(name)
        read, read_options = _input_mounts(stage, inputs)
        written, written_options = _output_mounts(stage, outputs)
        container = self._client.containers.run(
            self._image(stage),
            [stage.name, *arguments, *written_options, *read_options],
            name=name,
            detach=True,
            environment={LOG.name: "json"},
            user=f"{os.getuid()}:{os.getgid()}",
            volumes=[*read, *written],
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": ""},  # noqa: S108 - the container's own
            cap_drop=["ALL"],
        )
        try:
            log = container.logs(stream=True, follow=True)
            return follow(stage, whole_lines(log), lambda: int(container.wait()["StatusCode"]))
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


def _input_mounts(stage: Stage, inputs: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Return volumes for the inputs that exist, and options for those that lie elsewhere than /opt/ml says."""
    targets = input_folders(stage)
    folders, options = dict(inputs), []
    for channel in stage.reads:
        if channel.published and channel.name in inputs:
            # The stage also looks at the siblings of a published prefix (of a history: the one it goes back to).
            path = inputs[channel.name]
            folders[channel.name] = path.parent
            options += ["--input", f"{channel.name}={targets[channel.name]}/{path.name}"]
    volumes = [f"{path.resolve()}:{targets[name]}:ro" for name, path in folders.items() if path.exists()]
    return volumes, options


def _output_mounts(stage: Stage, outputs: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Return volumes for the outputs, and options for those that /opt/ml has no rule for."""
    targets = output_folders(stage)
    options = []
    for name in sorted(set(outputs) - set(targets)):
        targets[name] = f"/opt/ml/processing/output/{name}"
        options += ["--output", f"{name}={targets[name]}"]
    return [f"{path.resolve()}:{targets[name]}:rw" for name, path in outputs.items()], options
