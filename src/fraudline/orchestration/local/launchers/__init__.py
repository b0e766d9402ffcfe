"""Launchers: each starts a stage on this computer in its own way."""

from __future__ import annotations

from fraudline.orchestration.local.launchers.docker_launcher import DockerLauncher
from fraudline.orchestration.local.launchers.launcher import Finished, Launcher, StageError
from fraudline.orchestration.local.launchers.process_launcher import ProcessLauncher

__all__ = ["LAUNCHERS", "DockerLauncher", "Finished", "Launcher", "ProcessLauncher", "StageError", "launcher"]

LAUNCHERS = ("process", "docker")


def launcher(name: str, registry: str, version: str) -> Launcher:
    """Return the launcher of a name; ``registry`` and ``version`` say which images Docker runs."""
    return DockerLauncher(registry, version) if name == "docker" else ProcessLauncher()
