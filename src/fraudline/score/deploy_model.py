"""Puts the challenger behind the real server, and when its answers are right makes it the champion."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudline.channel import MANIFEST_FILE, Channels
from fraudline.errors import InputError
from fraudline.score import client
from fraudline.stage import POINTER_FILE, Summary
from fraudline.train import artifact
from fraudline.train.model import PROBE_TOLERANCE, Model, load

ENDPOINT = "fraud-detection-model-v1"
START_TIMEOUT = 120  # seconds until the first healthy /ping


def run(
    channels: Channels,
    as_of: date,  # every stage is told the day
    execution: str,
    replace: bool,  # the host's, for the commit
    now: datetime,
) -> Summary:
    """Write ``deployment``, publish ``models`` and point ``champion`` at the model.

    Raises:
        InputError: the gate did not recommend it, or its smoke test failed.
    """
    verdict = channels.read_json("evaluation", "verdict.json")
    model = load(channels)
    if verdict["model_version"] != model.version:
        raise InputError(
            f"channel 'evaluation': judges {verdict['model_version']}, but channel 'model' holds {model.version}; "
            "evaluate the model that is to be deployed"
        )
    if not verdict["deploy_recommended"]:
        raise InputError(f"the gate refuses {model.version}: {'; '.join(verdict['reasons'])}")
    folder = artifact.find(channels)
    smoke_test = _smoke_test(folder)
    _publish(channels, folder, model, execution)
    deployed = {
        "endpoint_name": ENDPOINT,
        "endpoint_arn": None,
        "status": "Champion",
        "instance_type": None,
        "model_version": model.version,
        "deployed_at": now.isoformat(),
    }
    _point_champion(channels, folder, {**deployed, "execution": execution})
    channels.write_json("deployment", "smoke_test.json", smoke_test)
    return {**deployed, "smoke_test": smoke_test, "record_count": smoke_test["rows"]}


def _publish(channels: Channels, folder: Path, model: Model, execution: str) -> None:
    archive = artifact.pack(folder)
    (channels.output("models") / artifact.ARCHIVE_FILE).write_bytes(archive)
    manifest = {"model_version": model.version, "execution": execution, "content": artifact.digest(folder)}
    channels.write_json("models", MANIFEST_FILE, manifest)


def _point_champion(channels: Channels, folder: Path, champion: dict[str, Any]) -> None:
    shutil.copytree(folder, channels.output("champion") / champion["model_version"])
    channels.write_json("champion", POINTER_FILE, {"champion": champion})


def _smoke_test(folder: Path) -> dict[str, Any]:
    """The artifact's probes, answered by the server that will serve it."""
    rows, expected = artifact.probes(folder)
    with _serving(folder) as endpoint:
        ids = pl.Series([str(number) for number in range(len(rows))])
        scores = client.score(endpoint, ids, rows, batch=25)
    worst = float(np.abs(scores.get_column("fraud_score").to_numpy() - expected).max())
    if not worst <= PROBE_TOLERANCE:
        raise InputError(f"the smoke test failed: a probe's score differs by {worst:.2g} behind the server")
    return {"rows": len(rows), "largest_difference": worst}


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """The real server over an artifact, on a free port of this machine; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fraudline", "serve", "--input", f"model={folder}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SAGEMAKER_")}
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], env=environment)  # noqa: S603
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _await_healthy(server, endpoint)
        yield endpoint
    finally:
        server.terminate()
        server.wait(timeout=30)


def _await_healthy(server: subprocess.Popen[bytes], endpoint: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if client.request(endpoint, "GET", "/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise InputError(
        "the smoke test failed: the server "
        + (f"stopped with code {server.returncode}" if server.poll() is not None else "never became healthy")
        + "; its log is above"
    )
