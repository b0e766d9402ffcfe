"""Run a pipeline on this computer: images in Docker, SageMaker's local mode, and AWS simulated by moto.

The content of a folder is uploaded to the simulated AWS before the run, and the results are downloaded afterwards.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import docker
from moto.server import ThreadedMotoServer

from fraudline.catalog.errors import InputError
from fraudline.catalog.workflow import LABELS, RAW
from fraudline.orchestration.local.runner import Folders
from fraudline.orchestration.sagemaker.service import step_line
from fraudline.runtime import s3
from fraudline.runtime.aws import client
from tools.sagemaker_local import mode

ROOT, DATA = "s3://fraudline/root", "s3://fraudline/data"
# The folder below the root that keeps registered models between runs.
REGISTRY = "model-packages"
_BUCKET = "fraudline"
_CREDENTIALS = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


@contextmanager
def local_aws(data: Path | None, root: Path) -> Iterator[Path]:
    """Serve a simulated AWS on this computer, with the data at DATA and the outputs at ROOT.

    Args:
        data: the folder with raw/ and labeled/.
        root: the folder for everything that is written; it is updated at the end, even after a failure.

    Yields:
        A scratch folder with the file ``environment``, with which a container reaches the simulated AWS.
    """
    engine = _engine()
    host, host_for_containers = _addresses(engine)
    moto = ThreadedMotoServer(host, 0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto.start()
    _, port = moto.get_host_and_port()
    scratch = Path(tempfile.mkdtemp(prefix="fraudline-"))
    try:
        with _environment({**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}):
            boto3.client("s3").create_bucket(Bucket=_BUCKET)
            container = {**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host_for_containers}:{port}"}
            lines = [f"{name}={value}\n" for name, value in container.items()]
            (scratch / "environment").write_text("".join(lines))
            if data:
                for address in (RAW, LABELS):
                    s3.upload(data / address.template, f"{DATA}/{address.template}", str)
            _upload(root)
            try:
                yield scratch
            finally:
                _download(root)
    finally:
        moto.stop()
        _remove_containers(engine, scratch)
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _environment(aws: Mapping[str, str]) -> Iterator[None]:
    """Replace all AWS variables of this process while the context is open."""
    original = dict(os.environ)
    for name in original:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(aws)
    client.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(original)
        client.cache_clear()


def session(scratch: Path, **local: Any) -> mode.Session:
    """Return a session of SageMaker's local mode, whose containers reach the simulated AWS."""
    session = mode.Session(boto3.session.Session(), default_bucket=_BUCKET)
    containers = {"env_file": [str(scratch / "environment")]}
    session.config = {"local": {"container_root": str(scratch), "container_config": containers, **local}}
    return session


def execute(pipeline: Any, parameters: dict[str, str], scratch: Path) -> bool:
    """Run a pipeline: report each step on standard output, and let the stages log to standard error.

    Returns:
        True if it succeeded.
    """
    output = sys.stdout

    def report(step: Mapping[str, Any]) -> None:
        print(step_line(step), file=output, flush=True)

    with redirect_stdout(sys.stderr):  # where the SDK writes what the containers log
        execution = session(scratch).run(pipeline, parameters, report).describe()
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
    """Return the address to listen on and the name that containers use for it: the bridge's, or Docker Desktop's."""
    gateway = engine.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    with socket.socket() as probe:
        try:
            probe.bind((gateway, 0))
        except OSError:
            return "127.0.0.1", "host.docker.internal"
    return gateway, gateway


def _upload(root: Path) -> None:
    """Put the root folder into S3 and its registered models into the registry."""
    Folders(root, root).prepare()
    s3.upload(root, f"{ROOT}/", str)
    sagemaker = boto3.client("sagemaker")
    for file in sorted((root / REGISTRY).glob("*/*.json"), key=lambda path: (path.parent, int(path.stem))):
        if int(file.stem) == 1:
            sagemaker.create_model_package_group(ModelPackageGroupName=file.parent.name)
        sagemaker.create_model_package(**json.loads(file.read_text()))


def _download(root: Path) -> None:
    """Mirror S3 into the root folder, and keep the registered models beside it."""
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".fraudline-") as folder:
        fresh = Path(folder) / "root"
        s3.fetch(f"{ROOT}/", fresh)
        for path in [path for path in fresh.rglob("*") if path.is_file()]:
            target = root / path.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    keys = {key.removeprefix(f"{ROOT}/") for key in s3.list_objects(f"{ROOT}/")}
    for path in [path for path in root.rglob("*") if path.is_file()]:
        if path.relative_to(root).as_posix() not in keys:
            path.unlink()
    for name, request in _packages():
        file = root / REGISTRY / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(request, indent=2) + "\n")


def _packages() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each registered model, as group/version.json and the request that registered it."""
    sagemaker = boto3.client("sagemaker")
    members = sagemaker.meta.service_model.operation_model("CreateModelPackage").input_shape.members
    for group in sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        listed = sagemaker.list_model_packages(ModelPackageGroupName=group["ModelPackageGroupName"])
        for package in listed["ModelPackageSummaryList"]:
            description = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            request = {name: value for name, value in description.items() if name in members and value}
            request.pop("ModelPackageName", None)
            yield f"{group['ModelPackageGroupName']}/{description['ModelPackageVersion']}.json", request


def _remove_containers(engine: Any, scratch: Path) -> None:
    """Remove the stopped containers and the network that the SDK leaves behind."""
    for container in engine.containers.list(all=True, filters={"label": "com.docker.compose.project"}):
        if str(container.labels.get("com.docker.compose.project.working_dir", "")).startswith(str(scratch)):
            container.remove(force=True)
    for network in engine.networks.list(names=["sagemaker-local"]):
        try:
            network.remove()
        except docker.errors.APIError:
            return  # containers of another run still use it


def serve(group: str, port: int, scratch: Path) -> bool:
    """Serve the last registered model of a group until SIGINT or SIGTERM."""
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
