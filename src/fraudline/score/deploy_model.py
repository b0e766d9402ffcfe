"""Smoke-test the challenger on the real server, deploy it, and make it the champion.

The smoke test runs on this computer first, and then through the SageMaker endpoint, if there is one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
from fraudline.score.local_server import local_server


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
    """Deploy the model: publish ``models``, update the endpoint if there is one, write ``champion`` and ``deployment``.

    Raises:
        InputError: the gate did not recommend the model, or its smoke test failed.
    """
    model = load(channels)
    _check_verdict(channels, model)
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
    if endpoint:
        _check_hosting(channels, hosting)
    folder = artifact.find(channels)
    with local_server(folder) as url:
        smoke_test = _smoke_test(folder, url)
    _write_model(channels, folder, model, run.execution)
    deployed = _deploy(channels, folder, model, hosting, replace=run.replace) if endpoint else None
    deployment = {
        "endpoint_name": endpoint or None,
        "endpoint_arn": deployed.arn if deployed else None,
        "status": deployed.status if deployed else "Champion",
        "instance_type": serving_instance if deployed else None,
        "model_version": model.version,
        "deployed_at": run.now.isoformat(),
    }
    configuration = {"endpoint_configuration": deployed.configuration} if deployed else {}
    _write_champion(channels, folder, {**deployment, **configuration, "execution": run.execution})
    channels.write_json("deployment", "smoke_test.json", smoke_test)
    return {**deployment, "smoke_test": smoke_test, "record_count": smoke_test["rows"]}


def _check_verdict(channels: Channels, model: Model) -> None:
    verdict = channels.read_json("evaluation", "verdict.json")
    if verdict["model_version"] != model.version:
        raise InputError(
            f"channel 'evaluation': judges {verdict['model_version']}, but channel 'model' holds {model.version}; "
            "evaluate the model that is to be deployed"
        )
    if not verdict["deploy_recommended"]:
        raise InputError(f"the gate refuses {model.version}: {'; '.join(verdict['reasons'])}")


def _check_hosting(channels: Channels, hosting: Hosting) -> None:
    """Raise InputError for parameters that can't make an endpoint, before anything is published."""
    for name, value in {"--serving-image": hosting.image, "--role": hosting.role}.items():
        if not value:
            raise InputError(f"{name} is missing: --endpoint {hosting.endpoint} needs it to serve the model")
    if bool(hosting.subnets) != bool(hosting.security_groups):
        raise InputError("--subnets and --security-groups go together: give both, or neither")
    if not s3.is_uri(uri := channels.destination("models")):
        raise InputError(f"channel 'models': SageMaker reads a model from s3://, got '{uri}'; name an s3:// prefix")


def _smoke_test(folder: Path, endpoint: str) -> dict[str, Any]:
    """Score the probes of an artifact through the server that serves it.

    Args:
        folder: the folder of the artifact.
        endpoint: http://… or sagemaker://NAME.

    Raises:
        InputError: a score differs from the one in the artifact.
    """
    rows, expected = artifact.probes(folder)
    ids = pl.Series([str(number) for number in range(len(rows))])
    scores = client.score(endpoint, ids, rows, batch=25).scores
    worst = float(np.abs(scores.get_column("fraud_score").to_numpy() - expected).max())
    if not worst <= PROBE_TOLERANCE:
        raise InputError(f"the smoke test failed: the server's score of a probe differs by {worst:.2g}")
    return {"rows": len(rows), "largest_difference": worst}


def _write_model(channels: Channels, folder: Path, model: Model, execution: str) -> None:
    (channels.output("models") / artifact.ARCHIVE_FILE).write_bytes(artifact.pack(folder))
    manifest = {"model_version": model.version, "execution": execution, "content": artifact.digest(folder)}
    channels.write_json("models", MANIFEST_FILE, manifest)


def _deploy(channels: Channels, folder: Path, model: Model, hosting: Hosting, *, replace: bool) -> Deployed:
    # Publish before the commit, because SageMaker reads the archive from its published URI.
    channels.publish("models", replace=replace)
    archive = f"{channels.destination('models').rstrip('/')}/{artifact.ARCHIVE_FILE}"
    champion = artifact.replaced_champion(channels)
    is_served = champion.get("endpoint_name") == hosting.endpoint
    previous = champion.get("endpoint_configuration") if is_served else None

    def smoke_test() -> None:
        _smoke_test(folder, f"{client.SAGEMAKER}{hosting.endpoint}")

    return deploy(hosting, model.version, archive, artifact.digest(folder), previous, smoke_test)


def _write_champion(channels: Channels, folder: Path, champion: dict[str, Any]) -> None:
    shutil.copytree(folder, channels.output("champion") / champion["model_version"])
    channels.write_json("champion", POINTER_FILE, {"champion": champion})
