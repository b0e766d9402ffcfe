"""Training, and a day as jobs, executed from the schedule on: Glue's scripts on Spark, the real images in Docker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.workflow import WORKFLOWS
from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests.aws.engine import Engine, drain_notifications, subscribe
from tests.aws.jobs import Jobs, Outcome, create_glue_job, jobs
from tests.glue.test_fraud_feature_eng import INEXACT
from tests.hosting import Hosting, hosting
from tests.running import run_stage, run_workflow

pytestmark = [
    pytest.mark.docker,
    # moto's server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

START, DAYS = date(2026, 1, 1), 60
TRAINED, SCORED = START + timedelta(days=DAYS), START + timedelta(days=DAYS + 1)
SETTINGS = {"Hosting": "Endpoint", "DailyMode": "STANDARD"}
ENDPOINT = "fraud-detection-model-v1"  # the default of the stack's EndpointName
SPLIT = ("train", "validation", "test")
FAULT = Outcome("the disk is full", "AlgorithmError: See job logs for more information, exit code: 1")


@dataclass(frozen=True)
class Stack:
    """The stack with deliveries, jobs, an endpoint, and a subscriber to its operations topic.

    Attributes:
        engine: the AWS in which the stack runs.
        outputs: the stack's outputs.
        jobs: SageMaker's and Glue's jobs.
        hosting: SageMaker's endpoints.
        operations: URL of the queue that receives the operations topic's messages.
    """

    engine: Engine
    outputs: dict[str, str]
    jobs: Jobs
    hosting: Hosting
    operations: str

    def deliver(self, workflow: str, as_of: date) -> list[dict[str, Any]]:
        """Send the schedule's message of a day, let the pipe take it, and return that day's executions."""
        name = workflow.title()
        self.engine.fire(f"{name}Schedule", datetime(as_of.year, as_of.month, as_of.day, 2, tzinfo=UTC))
        (answer,) = self.engine.poll(f"{name}Pipe")
        assert answer["status"] == "SUCCEEDED", answer
        executions = self.engine.executions(self.outputs[f"{name}Machine"])
        return [execution for execution in executions if execution["name"] == f"{workflow}-{as_of}"]

    def run(self, workflow: str, as_of: date) -> dict[str, Any]:
        """Run an execution from the schedule to its end; ``jobs`` and ``engine`` then record it alone."""
        self.jobs.ran.clear()
        self.engine.waits.clear()
        (execution,) = self.deliver(workflow, as_of)
        return self.engine.wait_for(execution["executionArn"], seconds=3600)

    def notices(self) -> list[dict[str, Any]]:
        """Return the operations topic's messages since the last call."""
        return drain_notifications(self.operations)

    def fetch(self, folder: Path) -> Path:
        """Download all that the stack wrote to a folder, and return it."""
        s3.fetch(f"{self.outputs['Root']}/", folder)
        return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    simulate(folder, start=START, days=DAYS + 1, customers=400, merchants=133, seed=11)
    return folder


@contextmanager
def with_deliveries(data: Path, engine: Engine, outputs: dict[str, str], folder: Path) -> Iterator[Stack]:
    """Upload deliveries to a deployed stack, and give it jobs and an endpoint.

    Args:
        data: the deliveries.
        engine: the AWS in which the stack runs.
        outputs: the stack's outputs.
        folder: for the disks of jobs and endpoints.
    """
    for job in ("DataExtractJob", "FeatureEngJob"):
        create_glue_job(engine.recorded[job])
    operations = subscribe(outputs["OperationsTopic"], "subscriber")
    for name in ("raw", "labeled"):
        s3.upload(data / name, f"{outputs['Data']}/{name}/", str)
    for name in ("jobs", "hosting"):
        (folder / name).mkdir()
    with ExitStack() as joints:
        hosted = joints.enter_context(hosting(folder / "hosting"))
        patch = joints.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("tests.hosting.DESCRIBED_WHILE_CHANGING", 1)  # else deploy-model would sleep in its container
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # else boto3 would try again by itself
        running = joints.enter_context(jobs(folder / "jobs", engine.functions.environment))
        yield Stack(engine, outputs, running, hosted, operations)


@pytest.fixture(scope="module")
def stack(
    data: Path, cloud: Engine, deployed: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with with_deliveries(data, cloud, deployed(**SETTINGS), tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def training(stack: Stack) -> dict[str, Any]:
    """Return the ended execution of a training."""
    return stack.run("training", TRAINED)


@pytest.fixture(scope="module")
def written(stack: Stack, training: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the training wrote to S3."""
    assert training["status"] == "SUCCEEDED", training
    return stack.fetch(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="module")
def local(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the stages of the Glue jobs on this computer, and return their root."""
    root = tmp_path_factory.mktemp("local")
    run_workflow("training", TRAINED, data, root, until="feature-engineering")
    return root


def table(folder: Path) -> pl.DataFrame:
    """Return a table of one or many files, by transaction."""
    return pl.read_parquet(folder / "**/*.parquet", hive_partitioning=False).sort("transaction_id")


@pytest.mark.usefixtures("written")
def test_a_training_runs_each_stage_once_in_order(stack: Stack):
    assert stack.jobs.ran == ["fraud_data_extract", "fraud_feature_eng", "train", "evaluate-model", "deploy-model"]
    assert stack.engine.waits == []
    assert not stack.notices()


def assert_glue_outputs_equal(written: Path, local: Path, as_of: date) -> None:
    """Compare dataset, splits and history bit for bit, except distances: sin and cos differ between libraries."""
    prefix = Path("executions", f"training-{as_of}")
    assert_frame_equal(table(written / prefix / "DataExtract/dataset"), table(local / prefix / "DataExtract/dataset"))
    for name in SPLIT:
        actual, expected = (table(root / prefix / "Features" / name) for root in (written, local))
        assert expected.height > 1000
        assert_frame_equal(actual.drop(INEXACT), expected.drop(INEXACT), check_exact=True)
        assert_frame_equal(actual.select(INEXACT), expected.select(INEXACT), rel_tol=2e-7, abs_tol=0)
    (history,) = (local / "history").glob("*/*")
    for path in history.iterdir():
        assert (written / path.relative_to(local)).read_bytes() == path.read_bytes()


def assert_model_equals_local_training(written: Path, as_of: date, folder: Path) -> None:
    """Train on the stack's own features and compare byte for byte; a model depends on the order of its rows."""
    features = written / "executions" / f"training-{as_of}" / "Features"
    run_stage("train", {name: features / name for name in ("train", "validation")}, {"model": folder}, as_of=as_of)
    for name in ("model.ubj", "probes.json"):  # the manifest also names the Python that trained
        assert (written / f"champion/v{as_of}" / name).read_bytes() == (folder / name).read_bytes()


def assert_day_equals_local_run(stack: Stack, data: Path, as_of: date, folder: Path) -> None:
    """Run the day here with the stack's champion and history, and compare each table bit for bit."""
    written, root = stack.fetch(folder / "written"), folder / "local"
    for name in ("champion", "history"):
        # The next history is among them; if the local run's differed, publishing it would fail.
        s3.fetch(f"{stack.outputs['Root']}/{name}/", root / name)
    run_workflow("daily", as_of, data, root)
    tables = [path.relative_to(root) for path in sorted(root.rglob("*.parquet"))]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(root / path), pl.read_parquet(written / path), check_exact=True)
    scores = pl.read_parquet(root / f"scores/date={as_of - timedelta(days=1)}/*.parquet")
    stored = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["ScoresTable"])
    assert sum(page["Count"] for page in stored) >= scores.height


def test_the_glue_jobs_write_what_the_images_write(written: Path, local: Path):
    assert_glue_outputs_equal(written, local, TRAINED)


def test_the_model_equals_one_trained_here_on_its_features(written: Path, tmp_path: Path):
    assert_model_equals_local_training(written, TRAINED, tmp_path)


def test_the_verdict_equals_the_local_one(written: Path, training: dict[str, Any], tmp_path: Path):
    prefix = written / "executions" / f"training-{TRAINED}"
    no_champion = tmp_path / "champion"
    no_champion.mkdir()
    (no_champion / "current.json").write_text('{"champion": null}')
    inputs = {"model": written / f"champion/v{TRAINED}", "test": prefix / "Features/test", "champion": no_champion}
    outputs = {name: tmp_path / name for name in ("evaluation", "summary")}
    summary = run_stage("evaluate-model", inputs, outputs, as_of=TRAINED)
    assert json.loads(training["output"])["EvaluateModel"]["job"]["exit_message"] == summary["exit_message"]
    for name in ("verdict.json", "*.parquet"):
        (expected,) = outputs["evaluation"].glob(name)
        (actual,) = (prefix / "Evaluation/evaluation").glob(name)
        assert actual.read_bytes() == expected.read_bytes()


def test_the_endpoint_serves_the_champion(stack: Stack, written: Path):
    champion = json.loads((written / "champion/current.json").read_text())["champion"]
    assert champion["model_version"] == f"v{TRAINED}"
    assert stack.hosting.state(ENDPOINT) == ("InService", champion["endpoint_configuration"])
    endpoint = stack.hosting.backend.endpoints[ENDPOINT]
    container = stack.hosting.model(endpoint).primary_container
    assert container["ModelDataUrl"] == f"{stack.outputs['Root']}/models/v{TRAINED}/model.tar.gz"
    assert container["Image"].startswith("1.dkr.ecr/fraudline/score@sha256:")


@pytest.mark.usefixtures("written")
def test_a_repeated_message_trains_once(stack: Stack):
    """A STANDARD execution's name is accepted once."""
    stack.jobs.ran.clear()
    assert len(stack.deliver("training", TRAINED)) == 1
    assert not stack.jobs.ran


# The day after the training


@pytest.mark.usefixtures("written")
def test_a_day_of_processing_jobs_equals_the_local_run(stack: Stack, data: Path, tmp_path: Path):
    execution = stack.run("daily", SCORED)
    assert execution["status"] == "SUCCEEDED", execution
    assert stack.jobs.ran == [step.stage.name for step in WORKFLOWS["daily"].steps]
    assert_day_equals_local_run(stack, data, SCORED, tmp_path)


# Failures


def test_input_that_a_glue_job_rejects_is_not_retried(stack: Stack):
    execution = stack.run("training", date(2027, 1, 1))
    assert (execution["status"], execution["error"]) == ("FAILED", "InputRejected")
    assert stack.jobs.ran == ["fraud_data_extract"]
    (notice,) = stack.notices()
    assert notice["error"] == "InputRejected"
    assert "channel 'raw'" in notice["cause"]


def test_input_that_a_processing_job_rejects_is_not_retried(stack: Stack):
    execution = stack.run("daily", date(2027, 1, 1))
    assert (execution["status"], execution["error"]) == ("FAILED", "InputRejected")
    assert stack.jobs.ran == ["etl"]
    (notice,) = stack.notices()
    assert "channel 'raw'" in json.loads(notice["cause"])["ExitMessage"]


def test_a_job_that_always_fails_is_given_up_with_a_notice(stack: Stack):
    as_of = SCORED + timedelta(days=1)
    stack.jobs.outcomes["etl"] = [FAULT] * 3
    execution = stack.run("daily", as_of)
    assert (execution["status"], execution["error"]) == ("FAILED", "StageFailed")
    assert stack.jobs.ran == ["etl"] * 3
    (notice,) = stack.notices()
    assert (notice["workflow"], notice["as_of"]) == ("daily", str(as_of))
    assert json.loads(notice["cause"])["ExitMessage"] == FAULT.message


@pytest.fixture(scope="module")
def refused(stack: Stack, written: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run a training on so little data that the gate refuses its model, and return the ended execution.

    SageMaker first throttles its training job, which then fails twice. The outputs of the Glue jobs are in S3 already.
    """
    as_of, root = TRAINED + timedelta(days=7), tmp_path_factory.mktemp("small")
    simulate(root / "data", start=START, days=(as_of - START).days, customers=100, merchants=33, seed=11)
    run_workflow("training", as_of, root / "data", root / "written", until="feature-engineering")
    prefix = f"executions/training-{as_of}"
    s3.upload(root / "written" / prefix, f"{stack.outputs['Root']}/{prefix}/", str)
    for script in ("fraud_data_extract", "fraud_feature_eng"):
        stack.jobs.outcomes[script] = [Outcome()]
    stack.jobs.outcomes["train"] = [FAULT] * 2
    stack.jobs.refusals.append("ThrottlingException")
    return stack.run("training", as_of)


@pytest.mark.usefixtures("refused")
def test_throttling_and_failures_are_retried(stack: Stack):
    assert stack.jobs.ran == ["fraud_data_extract", "fraud_feature_eng", *["train"] * 3, "evaluate-model"]
    limits = (30, 60, 120)  # throttling has its own attempts: the two after failures still begin at 60 seconds
    assert all(0 <= waited <= limit for waited, limit in zip(stack.engine.waits, limits, strict=True))


def test_a_refused_challenger_changes_nothing(stack: Stack, refused: dict[str, Any], written: Path):
    """Nothing failed, so the execution succeeds; the notice holds the gate's reasons."""
    assert refused["status"] == "SUCCEEDED", refused
    (notice,) = stack.notices()
    assert notice["error"] == "Refused"
    assert notice["cause"].startswith("deploy_recommended=false: ")
    assert "floor" in notice["cause"]
    pointer = s3.read(f"{stack.outputs['Root']}/champion/", "current.json")
    assert pointer == (written / "champion/current.json").read_text()
    assert stack.hosting.operations == ["create"]
