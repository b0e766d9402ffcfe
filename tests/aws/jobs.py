"""Jobs as SageMaker and Glue run them: download the inputs from S3, run the image or script, upload the outputs.

docs/offline.md lists the joints by which moto starts them, each with the shape that AWS documents; test_jobs.py checks
those shapes. A container that has a network uses this computer's.
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
from tests.aws.engine import Joint
from tests.entrypoints.jobs import tagged

REPOSITORY = Path(__file__).parents[2]
SPARK = Path(os.environ.get("FRAUDLINE_SPARK_PYTHON", REPOSITORY / ".venv-spark" / "bin" / "python"))
# Arguments for Glue itself, which the script never gets.
GLUE_OPTIONS = ("--additional-python-modules", "--enable-", "--job-language")

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        message: SageMaker's ExitMessage, which the container wrote.
        failure: SageMaker's FailureReason, or Glue's ErrorMessage; empty where the job succeeded.
    """

    message: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Container:
    """How to start a container; without an entrypoint it keeps the image's."""

    image: str
    entrypoint: list[str]
    arguments: list[str]
    environment: Mapping[str, str]
    isolated: bool = False


# Runs a container with a folder as /opt/ml, and returns its exit code.
RunContainer = Callable[[Container, Path], int]


# SageMaker


def run_processing_job(request: Request, ml: Path, run: RunContainer) -> Outcome:
    """Run a request of CreateProcessingJob with a new folder as /opt/ml."""
    _configure(ml / "config", processingjobconfig=request, resourceconfig=_hosts(request["ProcessingResources"]))
    (ml / "output").mkdir()
    for item in request.get("ProcessingInputs", []):
        if not _fetch(item["S3Input"]["S3Uri"], _below(ml, item["S3Input"]["LocalPath"])):
            return _no_objects(item["S3Input"]["S3Uri"])
    outputs = [item["S3Output"] for item in request["ProcessingOutputConfig"]["Outputs"]]
    for output in outputs:
        _below(ml, output["LocalPath"]).mkdir(parents=True)
    app = request["AppSpecification"]
    container = Container(
        app["ImageUri"],
        app.get("ContainerEntrypoint", []),
        app.get("ContainerArguments", []),
        request.get("Environment", {}),
        request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
    )
    code = run(container, ml)
    message = _reported(ml / "output" / "message")
    if code:
        return Outcome(message, f"AlgorithmError: See job logs for more information, exit code: {code}")
    # In any order, so in the worst one: the summary's prefix, which contains the others, is uploaded first. An upload
    # only adds: what lies below the prefix already stays.
    for output in sorted(outputs, key=lambda output: len(output["S3Uri"])):
        s3.upload(_below(ml, output["LocalPath"]), output["S3Uri"], str)
    return Outcome(message)


def run_training_job(request: Request, ml: Path, run: RunContainer) -> Outcome:
    """Run a request of CreateTrainingJob with a new folder as /opt/ml; /opt/ml/model becomes model.tar.gz."""
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
            return _no_objects(uri)
    image, environment = request["AlgorithmSpecification"]["TrainingImage"], request.get("Environment", {})
    code = run(Container(image, [], ["train"], environment, request.get("EnableNetworkIsolation", False)), ml)
    if code:
        return Outcome(failure=f"AlgorithmError: {_reported(ml / 'output' / 'failure')}, exit code: {code}")
    prefix = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    _upload_archive(ml / "model", f"{prefix}/{request['TrainingJobName']}/output/")
    return Outcome()


def _upload_archive(model: Path, prefix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(Path(folder, "model.tar.gz"), "w:gz") as archive:
            for path in sorted(model.iterdir()):
                archive.add(path, path.name)
        s3.upload(Path(folder), prefix, str)


def _configure(folder: Path, **files: Any) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def _hosts(resources: Mapping[str, Any]) -> dict[str, Any]:
    hosts = [f"algo-{number + 1}" for number in range(resources["ClusterConfig"]["InstanceCount"])]
    return {"current_host": hosts[0], "hosts": hosts}


def _fetch(uri: str, folder: Path) -> bool:
    """Download one object, or all below a prefix; return False where there is none."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    folder.mkdir(parents=True)
    if Path(key).suffix:  # a prefix of these jobs has none
        try:
            boto3.client("s3").download_file(bucket, key, str(folder / Path(key).name))
        except ClientError:
            return False
        return True
    s3.fetch(uri, folder)
    return s3.exists(uri)


def _no_objects(uri: str) -> Outcome:
    return Outcome(failure=f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source.')


def _below(ml: Path, path: str) -> Path:
    return ml / Path(path).relative_to("/opt/ml")


def _reported(file: Path) -> str:
    """Return what SageMaker reports of a container's file: its first 1,024 characters."""
    return file.read_text()[:1024] if file.is_file() else ""


# Glue


def run_glue_job(script: Path, arguments: Mapping[str, str], folder: Path) -> Outcome:
    """Run the script of a Glue job; this Spark can't read S3, so an s3:// argument is copied to a folder and back."""
    assert SPARK.exists(), f"{SPARK} has Spark and is missing; create it with: make spark-setup"
    own = {name: value for name, value in arguments.items() if not name.startswith(GLUE_OPTIONS)}
    as_of = date.fromisoformat(own["--as-of"])
    uris = {name: resolve(value, as_of) for name, value in own.items() if s3.is_uri(value)}
    for uri in uris.values():
        s3.fetch(uri, _copy(uri, folder))
    copied = {name: str(_copy(value, folder)) if s3.is_uri(value) else value for name, value in own.items()}
    command = [str(SPARK), str(script), *(word for pair in copied.items() for word in pair)]
    # Many short jobs on one computer: a quick start counts more than compiled code.
    java = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    process = subprocess.run(command, env=java | os.environ, capture_output=True, text=True, check=False)
    if process.returncode:
        return Outcome(failure=process.stderr.rstrip().splitlines()[-1])
    for checksum in folder.rglob("*.crc"):  # Hadoop writes them only on a local disk
        checksum.unlink()
    for name, uri in uris.items():
        if name.startswith("--output-"):
            s3.upload(_copy(uri, folder), uri, lambda file: file == SUMMARY_FILE)
    return Outcome()


def _copy(uri: str, folder: Path) -> Path:
    return folder / uri.removeprefix("s3://")


def create_glue_job(properties: Mapping[str, Any]) -> None:
    """Create a Glue job from the properties of an AWS::Glue::Job, which moto's CloudFormation does not know."""
    names = ("Name", "Role", "Command", "DefaultArguments", "ExecutionProperty", "GlueVersion")
    boto3.client("glue").create_job(**{name: properties[name] for name in names})


# In moto


@dataclass
class Jobs:
    """The jobs that ran, and what a test makes of the next ones.

    Attributes:
        folder: for the disks of all jobs.
        environment: variables by which a container reaches this AWS.
        ran: the stage or script of each job that started, in order.
        outcomes: how the next jobs of a stage or script end, without running.
        refusals: error codes with which the next requests to create a job fail.
    """

    folder: Path
    environment: Mapping[str, str]
    ran: list[str] = field(default_factory=list)
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def in_docker(self, container: Container, ml: Path) -> int:
        """Run a container as SageMaker does, except that its network, where it has one, is this computer's."""
        environment = {**container.environment, **({} if container.isolated else self.environment)}
        command = ["docker", "run", "--rm", "-v", f"{ml}:/opt/ml"]
        command += ["--network", "none" if container.isolated else "host"]
        command += [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
        if container.entrypoint:
            command += ["--entrypoint", container.entrypoint[0]]
        command += [local_image(container.image), *container.entrypoint[1:], *container.arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode

    def start(self, name: str, run: Callable[[Path], Outcome], on_end: Callable[[Outcome], None]) -> None:
        """Run a job in a thread of its own, with a new folder for its disk."""
        self.ran.append(name)
        prepared = self.outcomes.get(name)
        folder = Path(tempfile.mkdtemp(dir=self.folder))

        def run_to_end() -> None:
            try:
                on_end(prepared.pop(0) if prepared else run(folder))
            except Exception as error:
                on_end(Outcome(failure=f"InternalServerError: {error!r}"))
                raise

        self._threads.append(threading.Thread(target=run_to_end))
        self._threads[-1].start()

    def join(self) -> None:
        """Wait until every job has ended."""
        for thread in self._threads:
            thread.join()


def local_image(uri: str) -> str:
    """Return the image on this computer that stands for one in ECR."""
    (name,) = re.findall(r"fraudline/(\w+)[@:]", uri)
    return tagged(name)


@contextmanager
def jobs(folder: Path, environment: Mapping[str, str]) -> Iterator[Jobs]:
    """Add the joints to any server of moto in this process.

    Args:
        folder: for the disks of all jobs.
        environment: variables by which a container reaches that server.
    """
    started = Jobs(folder, environment)
    with ExitStack() as joints:
        for owner, name, replacement in _joints(started):
            joints.enter_context(patch.object(owner, name, replacement))
        joints.callback(started.join)
        yield started


def _joints(running: Jobs) -> Iterator[Joint]:
    for kind, run in {"processing": run_processing_job, "training": run_training_job}.items():
        yield SageMakerResponse, f"create_{kind}_job", _creating(running, kind, run)
    yield from _joints_of_glue(running)
    both = {ResourceCondition.Sync, ResourceCondition.WaitForTaskToken}
    yield state_task_service_glue, "_SUPPORTED_INTEGRATION_PATTERNS", both
    yield state_task_service_factory, "StateTaskServiceUnsupported", Synchronous


def _joints_of_glue(running: Jobs) -> Iterator[Joint]:
    start, description = FakeJob.start_job_run, FakeJobRun.as_dict

    def start_job_run(job: FakeJob, **request: Any) -> str:
        run_id = start(job, **request)
        run = job.job_runs[-1]
        run.outcome = None
        _set_glue_state(run, "RUNNING")

        def on_end(outcome: Outcome) -> None:
            run.outcome = outcome
            _set_glue_state(run, "FAILED" if outcome.failure else "SUCCEEDED")

        script = REPOSITORY / "glue" / "jobs" / Path(job.command["ScriptLocation"]).name
        running.start(script.stem, lambda folder: run_glue_job(script, run.arguments, folder), on_end)
        return run_id

    def as_dict(run: FakeJobRun) -> dict[str, Any]:
        failed = {"ErrorMessage": run.outcome.failure} if run.outcome and run.outcome.failure else {}
        return {**description(run), **failed}

    yield FakeJob, "start_job_run", start_job_run
    yield FakeJobRun, "as_dict", as_dict


def _set_glue_state(run: FakeJobRun, state: str) -> None:
    run._transitions = [(state, state)]  # else moto moves on to the next state when the run is described
    run.status = state


def _creating(running: Jobs, kind: str, run: Callable[[Request, Path, RunContainer], Outcome]) -> Callable[..., Any]:
    """Return the operation that creates a job of a kind and starts it."""
    create = getattr(SageMakerResponse, f"create_{kind}_job")

    def create_job(response: SageMakerResponse) -> ActionResult:
        request = json.loads(response.body)
        name = request[f"{kind.title()}JobName"]
        existing = getattr(response.sagemaker_backend, f"{kind}_jobs")
        if running.refusals:
            raise JsonRESTError(running.refusals.pop(0), "Try again later")
        if name in existing:
            raise ResourceInUseException(f"Job name must be unique within an AWS account and region: {name}")
        answer = create(response)
        job = existing[name]

        def set_status(status: str) -> None:
            setattr(job, f"{kind}_job_status", status)

        def on_end(outcome: Outcome) -> None:
            job.exit_message, job.failure_reason = outcome.message or None, outcome.failure or None
            set_status("Failed" if outcome.failure else "Completed")

        set_status("InProgress")
        stage = request["AppSpecification"]["ContainerEntrypoint"][1] if kind == "processing" else "train"
        running.start(stage, lambda folder: run(request, folder / "ml", running.in_docker), on_end)
        return answer

    return create_job


class Synchronous(StateTaskServiceUnsupported):
    """The task sagemaker:create…Job.sync, which waits for the job that it started."""

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

        def description_once_ended() -> Any:
            job = getattr(client, f"describe_{kind}_job")(**name)
            job.pop("ResponseMetadata")
            status = job[f"{kind.title()}JobStatus"]
            if status == "InProgress":
                return None
            if status == "Completed":
                return json.loads(to_json_str(job))
            error = StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed)
            raise FailureEventException(self._failure(env, error, to_json_str(job)))

        return description_once_ended

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if not isinstance(ex, ClientError):
            return super()._from_error(env, ex)
        code = ex.response["Error"]["Code"]
        # SageMaker's API defines only these errors; every other one comes under the service's name.
        defined = code in ("ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")
        name = f"{code}Exception" if defined else "AmazonSageMakerException"
        return self._failure(env, CustomErrorName(f"SageMaker.{name}"), f"{ex} (Error Code: {code})")

    def _failure(self, env: Any, error: Any, cause: str) -> FailureEvent:
        details = TaskFailedEventDetails(
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
            error=error.error_name,
            cause=cause,
        )
        return FailureEvent(env, error, HistoryEventType.TaskFailed, EventDetails(taskFailedEventDetails=details))
