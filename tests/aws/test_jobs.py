"""The joints of SageMaker's and Glue's jobs have the shapes that AWS documents."""

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

from tests.aws import jobs as jobs_module
from tests.aws.engine import Engine
from tests.aws.jobs import Container, Jobs, Outcome, create_glue_job, jobs, run_processing_job, run_training_job

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

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
FAULT = Outcome("the disk is full", "AlgorithmError: exit code: 1")


@pytest.fixture(scope="module")
def running(cloud: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """Add the joints of jobs, a bucket with inputs, and a Glue job."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="jobs")
    for key in ("raw/a/1.csv", "raw/2.csv", "a/model.tar.gz"):
        s3.put_object(Bucket="jobs", Key=key, Body=key.encode())
    create_glue_job(GLUE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # else boto3 would try again by itself
        with jobs(tmp_path_factory.mktemp("jobs"), cloud.functions.environment) as started:
            yield started


def keys(prefix: str) -> list[str]:
    return [
        item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket="jobs", Prefix=prefix).get("Contents", [])
    ]


@pytest.mark.usefixtures("running")
def test_a_processing_job_has_inputs_configuration_and_outputs(tmp_path: Path):
    # https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html

    def run(container: Container, ml: Path) -> int:
        assert container == Container(IMAGE, ["fraudline", "etl"], ["-v"], {})
        files = {str(path.relative_to(ml)) for path in ml.rglob("*") if path.is_file()}
        inputs = {f"processing/input/{name}" for name in ("raw/2.csv", "raw/a/1.csv", "model/model.tar.gz")}
        assert files == inputs | {"config/processingjobconfig.json", "config/resourceconfig.json"}
        request = json.loads((ml / "config/processingjobconfig.json").read_text())
        assert request["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/raw"
        hosts = json.loads((ml / "config/resourceconfig.json").read_text())
        assert hosts == {"current_host": "algo-1", "hosts": ["algo-1"]}
        (ml / "processing/output/out/table").write_text("1")
        (ml / "output/message").write_text("x" * 2000)
        return 0

    assert run_processing_job(PROCESSING, tmp_path / "ml", run) == Outcome("x" * 1024)
    assert keys("out/") == ["out/table"]


@pytest.mark.usefixtures("running")
def test_an_upload_only_adds_and_outputs_have_no_order(tmp_path: Path):
    """S3UploadMode EndOfJob copies files to a prefix; no document promises a deletion, or an order among outputs.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingS3Output.html
    """
    folder = "/opt/ml/processing/output"
    outputs = [
        {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": f"{folder}/{name}", "S3UploadMode": "EndOfJob"}}
        for name, uri in {"rows": "s3://jobs/run/rows/", "summary": "s3://jobs/run/"}.items()
    ]
    s3 = boto3.client("s3")
    s3.put_object(Bucket="jobs", Key="run/rows/part-9", Body=b"of an earlier run")

    def run(_: Container, ml: Path) -> int:
        (ml / "processing/output/rows/part-0").write_text("1")
        (ml / "processing/output/summary/summary.json").write_text("{}")
        return 0

    with pytest.MonkeyPatch.context() as patch:
        uploaded: list[str] = []
        upload = jobs_module.s3.upload
        patch.setattr(jobs_module.s3, "upload", lambda *words: (uploaded.append(words[1]), upload(*words)))
        request = {**PROCESSING, "ProcessingOutputConfig": {"Outputs": outputs}}
        assert run_processing_job(request, tmp_path / "ml", run) == Outcome()
    assert uploaded == ["s3://jobs/run/", "s3://jobs/run/rows/"]
    assert keys("run/") == ["run/rows/part-0", "run/rows/part-9", "run/summary.json"]


@pytest.mark.usefixtures("running")
def test_a_failed_job_uploads_nothing_and_reports_why(tmp_path: Path):
    def run(_: Container, ml: Path) -> int:
        (ml / "model/half").write_text("1")
        (ml / "output/failure").write_text("no rows")
        return 2

    outcome = run_training_job(TRAINING, tmp_path / "ml", run)
    assert outcome == Outcome(failure="AlgorithmError: no rows, exit code: 2")
    assert not keys("models/")


@pytest.mark.usefixtures("running")
def test_a_training_job_has_hyperparameters_and_writes_an_archive(tmp_path: Path):
    # https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html

    def run(container: Container, ml: Path) -> int:
        assert container == Container(IMAGE, [], ["train"], {}, isolated=True)
        assert json.loads((ml / "input/config/hyperparameters.json").read_text()) == {"rounds": "7"}
        channels = json.loads((ml / "input/config/inputdataconfig.json").read_text())
        assert channels == {"train": {"TrainingInputMode": "File"}}
        assert (ml / "input/data/train/a/1.csv").is_file()
        (ml / "model/model.ubj").write_text("1")
        return 0

    assert run_training_job(TRAINING, tmp_path / "ml", run) == Outcome()
    assert keys("models/") == ["models/job/output/model.tar.gz"]
    content = boto3.client("s3").get_object(Bucket="jobs", Key="models/job/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        assert archive.getnames() == ["model.ubj"]


@pytest.mark.usefixtures("running")
def test_an_input_without_objects_fails_the_job(tmp_path: Path):
    empty = json.loads(json.dumps(PROCESSING).replace("s3://jobs/raw/", "s3://jobs/nothing/"))
    outcome = run_processing_job(empty, tmp_path / "ml", lambda *_: pytest.fail("the container was started"))
    assert outcome.failure.startswith('ClientError: No S3 objects found under S3 URL "s3://jobs/nothing/"')


RunTask = Callable[[str, dict[str, Any], str], dict[str, Any]]


@pytest.fixture
def run_task(cloud: Engine) -> RunTask:
    """Return a function that runs one task in a state machine of its own, and returns the ended execution."""

    def run(resource: str, request: dict[str, Any], name: str) -> dict[str, Any]:
        task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": request, "End": True}
        definition = json.dumps({"StartAt": "Job", "States": {"Job": task}})
        client = boto3.client("stepfunctions")
        arn = client.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
        return cloud.wait_for(client.start_execution(stateMachineArn=arn, input="{}")["executionArn"])

    return run


def test_a_task_waits_for_its_job_and_outputs_the_description(running: Jobs, run_task: RunTask):
    running.outcomes["etl"] = [Outcome("12 rows")]
    request = {**PROCESSING, "ProcessingJobName": "succeeding"}
    execution = run_task("sagemaker:createProcessingJob.sync", request, "succeeding")
    description = json.loads(execution["output"])
    assert description["ProcessingJobStatus"] == "Completed"
    assert description["ExitMessage"] == "12 rows"
    assert description["ProcessingJobArn"].endswith(":processing-job/succeeding")


@pytest.mark.parametrize("kind", ["processing", "glue"])
def test_a_failed_job_fails_its_task_with_its_description(running: Jobs, run_task: RunTask, kind: str):
    # https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    running.outcomes |= {"etl": [FAULT], "fraud_data_extract": [FAULT]}
    task = {
        "processing": ("sagemaker:createProcessingJob.sync", {**PROCESSING, "ProcessingJobName": "failing"}),
        "glue": ("glue:startJobRun.sync", {"JobName": "any", "Arguments": {"--as-of": "2026-04-01"}}),
    }[kind]
    execution = run_task(*task, kind)
    assert (execution["status"], execution["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(execution["cause"])
    expected = {
        "processing": {"FailureReason": FAULT.failure, "ExitMessage": FAULT.message},
        "glue": {"ErrorMessage": FAULT.failure},
    }[kind]
    assert {name: cause[name] for name in expected} == expected


def test_errors_without_a_name_come_under_the_services_name(running: Jobs, run_task: RunTask):
    for code, name in {
        "ThrottlingException": "SageMaker.AmazonSageMakerException",
        "ResourceLimitExceeded": "SageMaker.ResourceLimitExceededException",
    }.items():
        running.refusals.append(code)
        execution = run_task("sagemaker:createTrainingJob.sync", {**TRAINING, "TrainingJobName": code}, code)
        assert execution["error"] == name
        assert code in execution["cause"]


def test_a_job_name_is_accepted_once(running: Jobs):
    running.outcomes["train"] = [FAULT]
    client = boto3.client("sagemaker")
    client.create_training_job(**{**TRAINING, "TrainingJobName": "taken"})
    running.join()
    description = client.describe_training_job(TrainingJobName="taken")
    assert (description["TrainingJobStatus"], description["FailureReason"]) == ("Failed", FAULT.failure)
    with pytest.raises(ClientError, match="ResourceInUse"):
        client.create_training_job(**{**TRAINING, "TrainingJobName": "taken"})
