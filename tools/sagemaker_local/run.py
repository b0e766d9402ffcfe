"""Runs a pipeline on this machine: the images in Docker, by SageMaker's local mode, over an AWS that moto serves here.

What lies below a folder is put into that AWS before, and what the pipeline left is taken back after it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import docker
from moto.server import ThreadedMotoServer

from fraudline.catalog.errors import InputError
from fraudline.catalog.workflow import LABELS, RAW
from fraudline.orchestration.local.runner import Places
from fraudline.orchestration.sagemaker.service import line_of
from fraudline.runtime import s3
from tools.sagemaker_local import mode as local_mode

ROOT, DATA = "s3://fraudline/root", "s3://fraudline/data"
REGISTRY = "model-packages"
_REGION = "us-east-1"


@contextmanager
def aws(data: Path | None, root: Path) -> Iterator[Path]:
    """An AWS of this machine's own, holding a folder's raw/ and labeled/ as DATA and another as ROOT.

    Args:
        data: the folder with raw/ and labeled/.
        root: the folder of all that is written; it is brought up to date in the end, whatever happened.

    Yields:
        A scratch folder with ``environment``, by which a container reaches that AWS.
    """
    engine = _engine()
    here, from_containers = _addresses(engine)
    moto = ThreadedMotoServer(here, 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto.start()
    _, port = moto.get_host_and_port()
    settings = {"AWS_DEFAULT_REGION": _REGION, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    scratch = Path(tempfile.mkdtemp(prefix="fraudline-"))
    try:
        with patch.dict(os.environ, {**outside, **settings, "AWS_ENDPOINT_URL": f"http://{here}:{port}"}, clear=True):
            s3._client.cache_clear()
            boto3.client("s3").create_bucket(Bucket=ROOT.split("/")[2])
            reached = {**settings, "AWS_ENDPOINT_URL": f"http://{from_containers}:{port}"}
            (scratch / "environment").write_text("".join(f"{name}={value}\n" for name, value in reached.items()))
            if data:
                for place in (RAW, LABELS):
                    s3.upload(data / place.template, f"{DATA}/{place.template}", str)
            _bring(root)
            try:
                yield scratch
            finally:
                _take_back(root)
    finally:
        moto.stop()
        s3._client.cache_clear()
        _remove_containers(engine, scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def session(scratch: Path, **local: Any) -> local_mode.Session:
    """SageMaker's local mode, with containers that reach the AWS of this machine."""
    made = local_mode.Session(boto3.session.Session(), default_bucket=ROOT.split("/")[2])
    containers = {"env_file": [str(scratch / "environment")]}
    made.config = {"local": {"container_root": str(scratch), "container_config": containers, **local}}
    return made


def run(pipeline: Any, parameters: dict[str, str], scratch: Path) -> bool:
    """Run a pipeline, telling of each step on standard output and letting the stages log to standard error."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):  # where the SDK writes what the containers say
        execution = (
            session(scratch)
            .run(pipeline, parameters, lambda step: print(line_of(step), file=out, flush=True))
            .describe()
        )
    print(f"{pipeline.name}: {execution['PipelineExecutionStatus']}")
    return bool(execution["PipelineExecutionStatus"] == "Succeeded")


def _engine() -> Any:
    try:
        engine = docker.from_env()
        engine.ping()
    except docker.errors.DockerException as error:
        raise InputError(f"no Docker engine answers ({error}); start one") from error
    return engine


def _addresses(engine: Any) -> tuple[str, str]:
    """Where to listen, and what a container calls that: the bridge's own address, or what a desktop's engine names."""
    gateway = engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    with socket.socket() as tried:
        try:
            tried.bind((gateway, 0))
        except OSError:
            return "127.0.0.1", "host.docker.internal"
    return gateway, gateway


def _bring(root: Path) -> None:
    Places(root, root).prepare()
    s3.upload(root, f"{ROOT}/", str)
    sagemaker = boto3.client("sagemaker")
    for file in sorted((root / REGISTRY).glob("*/*.json"), key=lambda path: (path.parent, int(path.stem))):
        if int(file.stem) == 1:
            sagemaker.create_model_package_group(ModelPackageGroupName=file.parent.name)
        sagemaker.create_model_package(**json.loads(file.read_text()))


def _take_back(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".fraudline-") as folder:
        fresh = Path(folder) / "root"
        s3.fetch(f"{ROOT}/", fresh)
        for place in [path for path in fresh.rglob("*") if path.is_file()]:
            old = root / place.relative_to(fresh)
            old.parent.mkdir(parents=True, exist_ok=True)
            place.replace(old)
    kept = {key.removeprefix(f"{ROOT}/") for key in s3.listed(f"{ROOT}/")}
    for path in [path for path in root.rglob("*") if path.is_file()]:
        if path.relative_to(root).as_posix() not in kept:
            path.unlink()
    for name, request in _packages():
        file = root / REGISTRY / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(request, indent=2) + "\n")


def _packages() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each registered model, as group/version.json and the request that registered it."""
    sagemaker = boto3.client("sagemaker")
    asked = sagemaker.meta.service_model.operation_model("CreateModelPackage").input_shape.members
    for group in sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        listed = sagemaker.list_model_packages(ModelPackageGroupName=group["ModelPackageGroupName"])
        for package in listed["ModelPackageSummaryList"]:
            found = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            request = {name: value for name, value in found.items() if name in asked and value not in (None, [], {})}
            request.pop("ModelPackageName", None)
            yield f"{group['ModelPackageGroupName']}/{found['ModelPackageVersion']}.json", request


def _remove_containers(engine: Any, scratch: Path) -> None:
    """The SDK leaves its stopped containers, and a network."""
    for container in engine.containers.list(all=True, filters={"label": "com.docker.compose.project"}):
        if str(container.labels.get("com.docker.compose.project.working_dir", "")).startswith(str(scratch)):
            container.remove(force=True)
    for network in engine.networks.list(names=["sagemaker-local"]):
        try:
            network.remove()
        except docker.errors.APIError:
            return  # another run's containers are in it


def serve(group: str, port: int, scratch: Path) -> bool:
    """Serve the model registered last in a group, until told to stop."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sagemaker = boto3.client("sagemaker")
    listed = (
        sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] if _has(group) else []
    )
    if not listed:
        raise InputError(f"no model is registered in '{group}' below --root; run the training pipeline first")
    arn = max(listed, key=lambda package: package["ModelPackageVersion"])["ModelPackageArn"]
    (container,) = sagemaker.describe_model_package(ModelPackageName=arn)["InferenceSpecification"]["Containers"]
    local = session(scratch, serving_port=port).sagemaker_client
    with redirect_stdout(sys.stderr):
        local.create_model(group, {**container, "Environment": {}})
        variant = {"VariantName": "all", "ModelName": group, "InitialInstanceCount": 1, "InstanceType": "local"}
        local.create_endpoint_config(group, [variant])
        local.create_endpoint(group, group)
    print(f"serving {arn}; AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://127.0.0.1:{port} leads boto3 here", flush=True)
    stop.wait()
    with redirect_stdout(sys.stderr):
        local.delete_endpoint(group)
    return True


def _has(group: str) -> bool:
    groups = boto3.client("sagemaker").list_model_package_groups(NameContains=group)
    return bool(groups["ModelPackageGroupSummaryList"])
