"""Puts the challenger behind the real server, and when its answers are right makes it the champion.

The server is this machine's, and then, where an endpoint is named, SageMaker's.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.stage import POINTER_FILE, Summary
from fraudline.model import artifact
from fraudline.model.model import PROBE_TOLERANCE, Model, load
from fraudline.runtime import s3
from fraudline.runtime.channels import MANIFEST_FILE, Channels
from fraudline.score import client
from fraudline.score.endpoint import Deployed, Hosting, deploy

START_TIMEOUT = 120  # seconds until the first healthy /ping


def run(
    channels: Channels,
    run: Run,
    endpoint: str,
    serving_image: str,
    role: str,
    serving_instance: str,
    serving_instances: int,
    kms_key: str,
    subnets: Sequence[str],
    security_groups: Sequence[str],
    network_isolation: bool,
) -> Summary:
    """Write ``deployment``, publish ``models``, deploy where an endpoint is named, point ``champion`` there.

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
    hosting = Hosting(
        endpoint,
        serving_image,
        role,
        serving_instance,
        serving_instances,
        kms_key,
        tuple(subnets),
        tuple(security_groups),
        network_isolation,
    )
    _check(channels, hosting)
    folder = artifact.find(channels)
    with _serving(folder) as address:
        smoke_test = _smoke_test(folder, address)
    _publish(channels, folder, model, run.execution)
    served = _deploy(channels, folder, model, hosting, replace=run.replace) if endpoint else None
    deployed = {
        "endpoint_name": endpoint or None,
        "endpoint_arn": served and served.arn,
        "status": served.status if served else "Champion",
        "instance_type": serving_instance if served else None,
        "model_version": model.version,
        "deployed_at": run.now.isoformat(),
    }
    configuration = {"endpoint_configuration": served.configuration} if served else {}
    _point_champion(channels, folder, {**deployed, **configuration, "execution": run.execution})
    channels.write_json("deployment", "smoke_test.json", smoke_test)
    return {**deployed, "smoke_test": smoke_test, "record_count": smoke_test["rows"]}


def _check(channels: Channels, hosting: Hosting) -> None:
    """Refuse what an endpoint could not be made of, before anything is published."""
    if not hosting.endpoint:
        return
    for name, value in {"--serving-image": hosting.image, "--role": hosting.role}.items():
        if not value:
            raise InputError(f"{name} is missing: --endpoint {hosting.endpoint} needs it to serve the model")
    if bool(hosting.subnets) != bool(hosting.security_groups):
        raise InputError("--subnets and --security-groups go together: give both, or neither")
    if not s3.is_uri(place := channels.destination("models")):
        raise InputError(f"channel 'models': SageMaker reads a model from s3://, got '{place}'; name an s3:// prefix")


def _deploy(channels: Channels, folder: Path, model: Model, hosting: Hosting, *, replace: bool) -> Deployed:
    """SageMaker reads the archive from its own address, so that is published first."""
    channels.publish("models", replace=replace)
    archive = f"{channels.destination('models').rstrip('/')}/{artifact.ARCHIVE_FILE}"
    champion = artifact.replaced_champion(channels)
    before = champion.get("endpoint_configuration") if champion.get("endpoint_name") == hosting.endpoint else None

    def try_out() -> None:
        _smoke_test(folder, f"{client.SAGEMAKER}{hosting.endpoint}")

    return deploy(hosting, model.version, archive, artifact.digest(folder), before, try_out)


def _publish(channels: Channels, folder: Path, model: Model, execution: str) -> None:
    archive = artifact.pack(folder)
    (channels.output("models") / artifact.ARCHIVE_FILE).write_bytes(archive)
    manifest = {"model_version": model.version, "execution": execution, "content": artifact.digest(folder)}
    channels.write_json("models", MANIFEST_FILE, manifest)


def _point_champion(channels: Channels, folder: Path, champion: dict[str, Any]) -> None:
    shutil.copytree(folder, channels.output("champion") / champion["model_version"])
    channels.write_json("champion", POINTER_FILE, {"champion": champion})


def _smoke_test(folder: Path, address: str) -> dict[str, Any]:
    """The artifact's probes, answered by a server that has the artifact."""
    rows, expected = artifact.probes(folder)
    ids = pl.Series([str(number) for number in range(len(rows))])
    scores = client.score(address, ids, rows, batch=25).scores
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
        address = f"http://127.0.0.1:{port}"
        _await_healthy(server, address)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def _await_healthy(server: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if client.request(address, "GET", "/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise InputError(
        "the smoke test failed: the server "
        + (f"stopped with code {server.returncode}" if server.poll() is not None else "never became healthy")
        + "; its log is above"
    )
