"""Jobs that were joined to the server have the shapes that AWS documents."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.aws.engine import Engine
from tests.aws.jobs import Container, Ended, Jobs, define, jobs, processing, training

pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")  # that server's sockets

ROLE, IMAGE = "arn:aws:iam::123456789012:role/any", "1.dkr.ecr/fraudline/etl@sha256:0"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
PROCESSING = {
    "ProcessingJobName": "job",
    "RoleArn": ROLE,
    "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["fraudline", "etl"], "ContainerArguments": ["-v"]},
    "ProcessingInputs": [
        {
            "InputName": name,
            "S3Input": {
                "S3Uri": f"s3://jobs/{key}",
                "LocalPath": f"/opt/ml/processing/input/{name}",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
        for name, key in {"raw": "raw/", "model": "a/model.tar.gz"}.items()
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "S3Output": {
                    "S3Uri": "s3://jobs/out/",
                    "LocalPath": "/opt/ml/processing/output/out",
                    "S3UploadMode": "EndOfJob",
                },
            }
        ]
    },
    "ProcessingResources": {"ClusterConfig": CLUSTER},
}
TRAINING = {
    "TrainingJobName": "job",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "HyperParameters": {"rounds": "7"},
    "InputDataConfig": [
        {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://jobs/raw/", "S3DataType": "S3Prefix"}}}
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://jobs/models/"},
    "ResourceConfig": CLUSTER,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "EnableNetworkIsolation": True,
}
GLUE = {
    "Name": "any",
    "Role": ROLE,
    "Command": {"Name": "glueetl", "ScriptLocation": "s3://artifacts/jobs/fraud_data_extract.py"},
    "DefaultArguments": {"--job-language": "python"},
    "ExecutionProperty": {"MaxConcurrentRuns": 1},
    "GlueVersion": "5.1",
}
FAULT = Ended("its words", "AlgorithmError: exit code: 1")


@pytest.fixture(scope="module")
def running(cloud: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="jobs")
    for key in ("raw/a/1.csv", "raw/2.csv", "a/model.tar.gz"):
        s3.put_object(Bucket="jobs", Key=key, Body=key.encode())
    define(GLUE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        with jobs(tmp_path_factory.mktemp("jobs"), cloud.functions.environment) as joined:
            yield joined


def keys(prefix: str) -> list[str]:
    return [it["Key"] for it in boto3.client("s3").list_objects_v2(Bucket="jobs", Prefix=prefix).get("Contents", [])]


@pytest.mark.usefixtures("running")
def test_a_processing_job_finds_its_inputs_and_its_configuration_and_leaves_outputs_and_a_message(tmp_path: Path):
    """docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html"""

    def run(container: Container, ml: Path) -> int:
        assert container == Container(IMAGE, ["fraudline", "etl"], ["-v"], {})
        found = {str(path.relative_to(ml)) for path in ml.rglob("*") if path.is_file()}
        read = {f"processing/input/{name}" for name in ("raw/2.csv", "raw/a/1.csv", "model/model.tar.gz")}
        assert found == read | {"config/processingjobconfig.json", "config/resourceconfig.json"}
        told = json.loads((ml / "config/processingjobconfig.json").read_text())
        assert told["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/raw"
        hosts = json.loads((ml / "config/resourceconfig.json").read_text())
        assert hosts == {"current_host": "algo-1", "hosts": ["algo-1"]}
        (ml / "processing/output/out/table").write_text("1")
        (ml / "output/message").write_text("x" * 2000)
        return 0

    assert processing(PROCESSING, tmp_path / "ml", run) == Ended("x" * 1024)
    assert keys("out/") == ["out/table"]


@pytest.mark.usefixtures("running")
def test_a_job_that_fails_uploads_nothing_and_says_why(tmp_path: Path):
    def run(_: Container, ml: Path) -> int:
        (ml / "model/half").write_text("1")
        (ml / "output/failure").write_text("no rows")
        return 2

    assert training(TRAINING, tmp_path / "ml", run) == Ended(failure="AlgorithmError: no rows, exit code: 2")
    assert not keys("models/")


@pytest.mark.usefixtures("running")
def test_a_training_job_is_told_its_parameters_and_leaves_an_archive(tmp_path: Path):
    """docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html"""

    def run(container: Container, ml: Path) -> int:
        assert container == Container(IMAGE, [], ["train"], {}, isolated=True)
        assert json.loads((ml / "input/config/hyperparameters.json").read_text()) == {"rounds": "7"}
        told = json.loads((ml / "input/config/inputdataconfig.json").read_text())
        assert told == {"train": {"TrainingInputMode": "File"}}
        assert (ml / "input/data/train/a/1.csv").is_file()
        (ml / "model/model.ubj").write_text("1")
        return 0

    assert training(TRAINING, tmp_path / "ml", run) == Ended()
    assert keys("models/") == ["models/job/output/model.tar.gz"]
    content = boto3.client("s3").get_object(Bucket="jobs", Key="models/job/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        assert archive.getnames() == ["model.ubj"]


@pytest.mark.usefixtures("running")
def test_an_input_without_objects_fails_the_job(tmp_path: Path):
    empty = json.loads(json.dumps(PROCESSING).replace("s3://jobs/raw/", "s3://jobs/nothing/"))
    ended = processing(empty, tmp_path / "ml", lambda *_: pytest.fail("it was started"))
    assert ended.failure.startswith('ClientError: No S3 objects found under S3 URL "s3://jobs/nothing/"')


@pytest.fixture
def machine(cloud: Engine) -> Callable[..., dict[str, Any]]:
    """Runs a machine of one task to its end."""

    def run(resource: str, request: dict[str, Any], name: str) -> dict[str, Any]:
        task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": request, "End": True}
        definition = json.dumps({"StartAt": "Job", "States": {"Job": task}})
        client = boto3.client("stepfunctions")
        made = client.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
        return cloud.ended(client.start_execution(stateMachineArn=made, input="{}")["executionArn"])

    return run


def test_a_machine_waits_for_a_job_and_has_its_description(running: Jobs, machine: Callable[..., dict[str, Any]]):
    running.otherwise["etl"] = [Ended("its words")]
    ended = machine("sagemaker:createProcessingJob.sync", {**PROCESSING, "ProcessingJobName": "well"}, "well")
    described = json.loads(ended["output"])
    assert described["ProcessingJobStatus"] == "Completed"
    assert described["ExitMessage"] == "its words"
    assert described["ProcessingJobArn"].endswith(":processing-job/well")


@pytest.mark.parametrize("kind", ["processing", "glue"])
def test_a_job_that_fails_fails_its_task_and_the_cause_is_its_description(
    running: Jobs, machine: Callable[..., dict[str, Any]], kind: str
):
    """docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html: States.TaskFailed, whatever the reason."""
    running.otherwise |= {"etl": [FAULT], "fraud_data_extract": [FAULT]}
    asked = {
        "processing": ("sagemaker:createProcessingJob.sync", {**PROCESSING, "ProcessingJobName": "ill"}),
        "glue": ("glue:startJobRun.sync", {"JobName": "any", "Arguments": {"--as-of": "2026-04-01"}}),
    }[kind]
    ended = machine(*asked, kind)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(ended["cause"])
    told = {"processing": ("FailureReason", "ExitMessage"), "glue": ("ErrorMessage",)}[kind]
    assert [cause[name] for name in told] == [FAULT.failure, FAULT.message][: len(told)]


def test_what_the_api_has_no_error_for_comes_under_the_services_name(
    running: Jobs, machine: Callable[..., dict[str, Any]]
):
    for code, name in {
        "ThrottlingException": "SageMaker.AmazonSageMakerException",
        "ResourceLimitExceeded": "SageMaker.ResourceLimitExceededException",
    }.items():
        running.busy.append(code)
        ended = machine("sagemaker:createTrainingJob.sync", {**TRAINING, "TrainingJobName": code}, code)
        assert ended["error"] == name
        assert code in ended["cause"]


def test_a_jobs_name_is_taken_once(running: Jobs):
    running.otherwise["train"] = [FAULT]
    client = boto3.client("sagemaker")
    client.create_training_job(**{**TRAINING, "TrainingJobName": "taken"})
    running.end()
    described = client.describe_training_job(TrainingJobName="taken")
    assert (described["TrainingJobStatus"], described["FailureReason"]) == ("Failed", FAULT.failure)
    with pytest.raises(ClientError, match="ResourceInUse"):
        client.create_training_job(**{**TRAINING, "TrainingJobName": "taken"})
