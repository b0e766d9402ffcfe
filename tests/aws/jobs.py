"""What SageMaker and Glue do with a job, done here: folders filled from S3, its image or script run, outputs put back.

docs/offline.md lists the joints by which moto does it, each with the shape that AWS documents; test_jobs.py holds them
to it. A container's network, where it has one, is this machine's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from botocore.exceptions import ClientError
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.glue.models import FakeJob, FakeJobRun
from moto.sagemaker.exceptions import ResourceInUseException
from moto.sagemaker.responses import SageMakerResponse
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_factory,
    state_task_service_glue,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_unsupported import (
    StateTaskServiceUnsupported,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str

from fraudline.catalog.stage import SUMMARY_FILE
from fraudline.catalog.templates import resolve
from fraudline.runtime import s3
from tests.entrypoints.jobs import tagged

REPOSITORY = Path(__file__).parents[2]
SPARK = Path(os.environ.get("FRAUDLINE_SPARK_PYTHON", REPOSITORY / ".venv-spark" / "bin" / "python"))
# Arguments by which Glue is told, not the script.
GLUES_OWN = ("--additional-python-modules", "--enable-", "--job-language")

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a job ended: what its container left for whoever asks, and why it failed, where it did."""

    message: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Container:
    """What is asked of a container; without an entrypoint it has the image's own."""

    image: str
    entrypoint: list[str]
    arguments: list[str]
    environment: Mapping[str, str]
    isolated: bool = False

    @property
    def stage(self) -> str:
        return (self.entrypoint[1:] or self.arguments)[0]


Carrier = Callable[[Container, Path], int]  # with the folder that is /opt/ml; its exit code


# SageMaker


def processing(request: Request, ml: Path, run: Carrier) -> Ended:
    """A request of CreateProcessingJob from its beginning to its end."""
    _configure(ml / "config", processingjobconfig=request, resourceconfig=_hosts(request["ProcessingResources"]))
    (ml / "output").mkdir()
    for item in request.get("ProcessingInputs", []):
        if not _fetch(item["S3Input"]["S3Uri"], _below(ml, item["S3Input"]["LocalPath"])):
            return _nothing_at(item["S3Input"]["S3Uri"])
    outputs = [item["S3Output"] for item in request["ProcessingOutputConfig"]["Outputs"]]
    for place in outputs:
        _below(ml, place["LocalPath"]).mkdir(parents=True)
    app = request["AppSpecification"]
    container = Container(
        app["ImageUri"],
        app.get("ContainerEntrypoint", []),
        app.get("ContainerArguments", []),
        request.get("Environment", {}),
        request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
    )
    code, message = run(container, ml), _left(ml / "output" / "message")
    if code:
        return Ended(message, f"AlgorithmError: See job logs for more information, exit code: {code}")
    for place in outputs:
        s3.upload(_below(ml, place["LocalPath"]), place["S3Uri"], str)
    return Ended(message)


def training(request: Request, ml: Path, run: Carrier) -> Ended:
    """A request of CreateTrainingJob, likewise; what it leaves in /opt/ml/model becomes model.tar.gz."""
    channels = {item["ChannelName"]: item for item in request["InputDataConfig"]}
    mode = {"TrainingInputMode": request["AlgorithmSpecification"]["TrainingInputMode"]}
    _configure(
        ml / "input" / "config",
        hyperparameters=request["HyperParameters"],
        inputdataconfig=dict.fromkeys(channels, mode),
        resourceconfig=_hosts({"ClusterConfig": request["ResourceConfig"]}),
    )
    for folder in ("model", "output"):
        (ml / folder).mkdir()
    for name, item in channels.items():
        uri = item["DataSource"]["S3DataSource"]["S3Uri"]
        if not _fetch(uri, ml / "input" / "data" / name):
            return _nothing_at(uri)
    image, environment = request["AlgorithmSpecification"]["TrainingImage"], request.get("Environment", {})
    code = run(Container(image, [], ["train"], environment, request.get("EnableNetworkIsolation", False)), ml)
    if code:
        return Ended(failure=f"AlgorithmError: {_left(ml / 'output' / 'failure')}, exit code: {code}")
    with tempfile.TemporaryDirectory() as packed:
        with tarfile.open(Path(packed, "model.tar.gz"), "w:gz") as archive:
            for path in sorted((ml / "model").iterdir()):
                archive.add(path, path.name)
        below = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        s3.upload(Path(packed), f"{below}/{request['TrainingJobName']}/output/", str)
    return Ended()


def _configure(folder: Path, **files: Any) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def _hosts(resources: Mapping[str, Any]) -> dict[str, Any]:
    hosts = [f"algo-{number + 1}" for number in range(resources["ClusterConfig"]["InstanceCount"])]
    return {"current_host": hosts[0], "hosts": hosts}


def _fetch(uri: str, folder: Path) -> bool:
    """Whether there is anything: one object keeps its name, and all below a prefix their paths."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    folder.mkdir(parents=True)
    if Path(key).suffix:
        try:
            boto3.client("s3").download_file(bucket, key, str(folder / Path(key).name))
        except ClientError:
            return False
        return True
    s3.fetch(uri, folder)
    return s3.exists(uri)


def _nothing_at(uri: str) -> Ended:
    return Ended(failure=f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source.')


def _below(ml: Path, path: str) -> Path:
    return ml / Path(path).relative_to("/opt/ml")


def _left(file: Path) -> str:
    """What a container wrote for whoever asks: the first 1,024 characters."""
    return file.read_text()[:1024] if file.is_file() else ""


# Glue


def on_spark(script: Path, arguments: Mapping[str, str], folder: Path) -> Ended:
    """A run of a Glue job, over copies of what lies in S3 below its arguments."""
    assert SPARK.exists(), f"{SPARK} has Spark and is missing; make it with: make spark-setup"
    given = {name: value for name, value in arguments.items() if not name.startswith(GLUES_OWN)}
    as_of = date.fromisoformat(given["--as-of"])
    places = {name: resolve(value, as_of) for name, value in given.items() if s3.is_uri(value)}
    for place in places.values():
        s3.fetch(place, _copy(place, folder))
    copied = {name: str(_copy(value, folder)) if s3.is_uri(value) else value for name, value in given.items()}
    command = [str(SPARK), str(script), *(word for pair in copied.items() for word in pair)]
    quick = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    ended = subprocess.run(command, env=quick | os.environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        return Ended(failure=ended.stderr.rstrip().splitlines()[-1])
    for checksum in folder.rglob("*.crc"):  # Hadoop leaves them on a local disk alone
        checksum.unlink()
    for name, place in places.items():
        if name.startswith("--output-"):
            s3.upload(_copy(place, folder), place, lambda file: file == SUMMARY_FILE)
    return Ended()


def _copy(place: str, folder: Path) -> Path:
    return folder / place.removeprefix("s3://")


def define(properties: Mapping[str, Any]) -> None:
    """Make a Glue job of a stack's AWS::Glue::Job, which moto's CloudFormation passes over."""
    names = ("Name", "Role", "Command", "DefaultArguments", "ExecutionProperty", "GlueVersion")
    boto3.client("glue").create_job(**{name: properties[name] for name in names})


# In moto


def image_of(uri: str) -> str:
    """The image on this machine that stands for one in ECR."""
    (name,) = re.findall(r"fraudline/(\w+)[@:]", uri)
    return tagged(name)


@dataclass
class Jobs:
    """The jobs that ran, each by its stage or script, and what of them a test may spoil."""

    folder: Path
    environment: Mapping[str, str]
    ran: list[str] = field(default_factory=list)
    otherwise: dict[str, list[Ended]] = field(default_factory=dict)  # ends so, without running
    busy: list[str] = field(default_factory=list)  # the API's next answers instead
    _threads: list[threading.Thread] = field(default_factory=list)

    def in_docker(self, container: Container, ml: Path) -> int:
        """As the service runs it, but with its network, where it has one, this machine's."""
        named = {**container.environment, **({} if container.isolated else self.environment)}
        command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml"]
        command += ["--network", "none" if container.isolated else "host"]
        command += [word for name, value in named.items() for word in ("-e", f"{name}={value}")]
        if container.entrypoint:
            command += ["--entrypoint", container.entrypoint[0]]
        command += [image_of(container.image), *container.entrypoint[1:], *container.arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def begin(self, name: str, run: Callable[[Path], Ended], done: Callable[[Ended], None]) -> None:
        """Run a job beside whoever started it."""
        self.ran.append(name)
        instead = self.otherwise.get(name)
        folder = Path(tempfile.mkdtemp(dir=self.folder))

        def go() -> None:
            try:
                done(instead.pop(0) if instead else run(folder))
            except Exception as error:
                done(Ended(failure=f"InternalServerError: {error!r}"))
                raise

        self._threads.append(threading.Thread(target=go))
        self._threads[-1].start()

    def end(self) -> None:
        for thread in self._threads:
            thread.join()


@contextmanager
def jobs(folder: Path, environment: Mapping[str, str]) -> Iterator[Jobs]:
    """The joints, in whatever server of moto runs in this process.

    Args:
        folder: for all that jobs keep on their disks.
        environment: by which a container reaches that server.
    """
    joined = Jobs(folder, environment)
    with ExitStack() as joints:
        for owner, name, joint in _joints(joined):
            joints.enter_context(patch.object(owner, name, joint))
        joints.callback(joined.end)
        yield joined


def _joints(joined: Jobs) -> Iterator[tuple[Any, str, Any]]:
    """What is put in the place of what in moto."""
    for kind, execute in {"processing": processing, "training": training}.items():
        yield SageMakerResponse, f"create_{kind}_job", _creating(joined, kind, execute)
    start = FakeJob.start_job_run
    described = FakeJobRun.as_dict

    def start_job_run(job: FakeJob, **given: Any) -> str:
        started = start(job, **given)
        run = job.job_runs[-1]
        run._transitions, run.ended = [("RUNNING", "RUNNING")], None
        run.status = "RUNNING"

        def done(ended: Ended) -> None:
            run.ended = ended
            run._transitions = [(state := "FAILED" if ended.failure else "SUCCEEDED", state)]
            run.status = state

        script = REPOSITORY / "glue" / "jobs" / Path(job.command["ScriptLocation"]).name
        joined.begin(script.stem, lambda folder: on_spark(script, run.arguments, folder), done)
        return started

    def as_dict(run: FakeJobRun) -> dict[str, Any]:
        failed = {"ErrorMessage": run.ended.failure} if run.ended and run.ended.failure else {}
        return {**described(run), **failed}

    yield FakeJob, "start_job_run", start_job_run
    yield FakeJobRun, "as_dict", as_dict
    both = {ResourceCondition.Sync, ResourceCondition.WaitForTaskToken}
    yield state_task_service_glue, "_SUPPORTED_INTEGRATION_PATTERNS", both
    yield state_task_service_factory, "StateTaskServiceUnsupported", Synchronous


def _creating(joined: Jobs, kind: str, execute: Callable[[Request, Path, Carrier], Ended]) -> Callable[..., Any]:
    create = getattr(SageMakerResponse, f"create_{kind}_job")

    def created(response: SageMakerResponse) -> ActionResult:
        request = json.loads(response.body)
        name = request[f"{kind.title()}JobName"]
        held = getattr(response.sagemaker_backend, f"{kind}_jobs")
        if joined.busy:
            raise JsonRESTError(joined.busy.pop(0), "Try again later")
        if name in held:
            raise ResourceInUseException(f"Job name must be unique within an AWS account and region: {name}")
        answer = create(response)
        job = held[name]

        def state(status: str) -> None:
            setattr(job, f"{kind}_job_status", status)

        def done(ended: Ended) -> None:
            job.exit_message, job.failure_reason = ended.message or None, ended.failure or None
            state("Failed" if ended.failure else "Completed")

        state("InProgress")
        stage = request["AppSpecification"]["ContainerEntrypoint"][1] if kind == "processing" else "train"
        joined.begin(stage, lambda folder: execute(request, folder / "ml", joined.in_docker), done)
        return answer

    return created


class Synchronous(StateTaskServiceUnsupported):
    """sagemaker:create…Job.sync: waits for the job that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._supported_integration_patterns = {ResourceCondition.WaitForTaskToken, ResourceCondition.Sync}

    def _build_sync_resolver(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: dict[str, Any], state_credentials: Any
    ) -> Callable[[], Any]:
        env.stack.pop()
        kind = self.resource.api_action.lower().removeprefix("create").removesuffix("job")
        client = boto_client_for(resource_runtime_part.region, "sagemaker", state_credentials)
        key = f"{kind.title()}JobName"
        name = {key: normalised_parameters[key]}

        def described() -> Any:
            job = getattr(client, f"describe_{kind}_job")(**name)
            job.pop("ResponseMetadata")
            status = job[f"{kind.title()}JobStatus"]
            if status == "InProgress":
                return None
            if status == "Completed":
                return json.loads(to_json_str(job))
            error = StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed)
            raise FailureEventException(self._failure(env, error, to_json_str(job)))

        return described

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if not isinstance(ex, ClientError):
            return super()._from_error(env, ex)
        code = ex.response["Error"]["Code"]
        of_its_own = code in ("ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")
        name = f"{code}Exception" if of_its_own else "AmazonSageMakerException"
        return self._failure(env, CustomErrorName(f"SageMaker.{name}"), f"{ex} (Error Code: {code})")

    def _failure(self, env: Any, error: Any, cause: str) -> FailureEvent:
        details = TaskFailedEventDetails(
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
            error=error.error_name,
            cause=cause,
        )
        return FailureEvent(env, error, HistoryEventType.TaskFailed, EventDetails(taskFailedEventDetails=details))
