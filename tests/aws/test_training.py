"""Training, and a day's STANDARD twin, executed: schedule to machine; Glue's scripts on Spark, the images as jobs."""

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
from tests.aws.engine import Engine
from tests.aws.jobs import Ended, Jobs, define, jobs
from tests.glue.test_fraud_feature_eng import INEXACT
from tests.hosting import Hosting, hosting
from tests.running import run_stage, run_workflow

pytestmark = [
    pytest.mark.docker,
    # That server leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore:.*unclosed"),
]

START, DAYS = date(2026, 1, 1), 60
TRAINED, SCORED = START + timedelta(days=DAYS), START + timedelta(days=DAYS + 1)
SETTINGS = {"Hosting": "Endpoint", "DailyMode": "STANDARD"}
ENDPOINT = "fraud-detection-model-v1"  # the default of the stack's EndpointName
SPLIT = ("train", "validation", "test")
FAULT = Ended("the disk is full", "AlgorithmError: See job logs for more information, exit code: 1")


@dataclass(frozen=True)
class Stack:
    """The stack with its jobs and endpoint, holding deliveries, and whoever listens to its operations topic."""

    engine: Engine
    outputs: dict[str, str]
    jobs: Jobs
    hosting: Hosting
    ear: str

    def deliver(self, workflow: str, as_of: date) -> list[dict[str, Any]]:
        """The schedule's message of a day, taken by the pipe; the executions that there are of that day then."""
        name = workflow.title()
        self.engine.fire(f"{name}Schedule", datetime(as_of.year, as_of.month, as_of.day, 2, tzinfo=UTC))
        (answer,) = self.engine.poll(f"{name}Pipe")
        assert answer["status"] == "SUCCEEDED", answer
        found = self.engine.executions(self.outputs[f"{name}Machine"])
        return [execution for execution in found if execution["name"] == f"{workflow}-{as_of}"]

    def run(self, workflow: str, as_of: date) -> dict[str, Any]:
        """An execution from the schedule to its end; only what it does is in ``jobs`` then."""
        self.jobs.ran.clear()
        self.engine.waits.clear()
        (execution,) = self.deliver(workflow, as_of)
        return self.engine.ended(execution["executionArn"], within=3600)

    def heard(self) -> list[dict[str, Any]]:
        """What the operations topic said since it was asked last."""
        sqs, said = boto3.client("sqs"), []
        for message in sqs.receive_message(QueueUrl=self.ear, MaxNumberOfMessages=10).get("Messages", []):
            said.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=self.ear, ReceiptHandle=message["ReceiptHandle"])
        return said

    def fetch(self, folder: Path) -> Path:
        """All that the stack wrote, as a laptop's root."""
        s3.fetch(f"{self.outputs['Root']}/", folder)
        return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    simulate(folder, start=START, days=DAYS + 1, customers=400, merchants=133, seed=11)
    return folder


@contextmanager
def holding(data: Path, engine: Engine, outputs: dict[str, str], folder: Path) -> Iterator[Stack]:
    """The stack that was deployed, with jobs and an endpoint, after some deliveries."""
    for job in ("DataExtractJob", "FeatureEngJob"):
        define(engine.kept[job])
    ear = boto3.client("sqs").create_queue(QueueName="ear")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:123456789012:ear"
    boto3.client("sns").subscribe(TopicArn=outputs["OperationsTopic"], Protocol="sqs", Endpoint=arn)
    for name in ("raw", "labeled"):
        s3.upload(data / name, f"{outputs['Data']}/{name}/", str)
    for name in ("jobs", "hosting"):
        (folder / name).mkdir()
    with ExitStack() as joints:
        hosted = joints.enter_context(hosting(folder / "hosting"))
        patch = joints.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("tests.hosting.DESCRIBED_WHILE_CHANGING", 1)  # a container would sleep in between
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # what the machines ask is asked once
        run = joints.enter_context(jobs(folder / "jobs", engine.functions.environment))
        yield Stack(engine, outputs, run, hosted, ear)


@pytest.fixture(scope="module")
def stack(
    data: Path, cloud: Engine, deployed: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with holding(data, cloud, deployed(**SETTINGS), tmp_path_factory.mktemp("stack")) as made:
        yield made


@pytest.fixture(scope="module")
def trained(stack: Stack) -> dict[str, Any]:
    return stack.run("training", TRAINED)


@pytest.fixture(scope="module")
def machine(stack: Stack, trained: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training left in S3."""
    assert trained["status"] == "SUCCEEDED", trained
    return stack.fetch(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def laptop(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as far as Glue does it."""
    root = tmp_path_factory.mktemp("laptop")
    run_workflow("training", TRAINED, data, root, until="feature-engineering")
    return root


def table(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "**/*.parquet", hive_partitioning=False).sort("transaction_id")


def test_a_training_runs_each_stage_once_in_its_order(stack: Stack, machine: Path):
    assert stack.jobs.ran == ["fraud_data_extract", "fraud_feature_eng", "train", "evaluate-model", "deploy-model"]
    assert stack.engine.waits == []
    assert not stack.heard()


def assert_glues_part_is_equal(machine: Path, laptop: Path, as_of: date) -> None:
    """Bit for bit, but for distances: sin and cos differ in the last bit from one library to another."""
    at = Path("executions", f"training-{as_of}")
    assert_frame_equal(table(machine / at / "DataExtract/dataset"), table(laptop / at / "DataExtract/dataset"))
    for name in SPLIT:
        one, other = (table(root / at / "Features" / name) for root in (laptop, machine))
        assert one.height > 1000
        assert_frame_equal(other.drop(INEXACT), one.drop(INEXACT), check_exact=True)
        assert_frame_equal(other.select(INEXACT), one.select(INEXACT), rel_tol=2e-7, abs_tol=0)
    (history,) = (laptop / "history").glob("*/*")
    for path in history.iterdir():
        assert (machine / path.relative_to(laptop)).read_bytes() == path.read_bytes()


def assert_model_is_equal(machine: Path, as_of: date, folder: Path) -> None:
    """To the bit, over the same features: in which order their rows come matters to a model."""
    features = machine / "executions" / f"training-{as_of}" / "Features"
    run_stage("train", {name: features / name for name in ("train", "validation")}, {"model": folder}, as_of=as_of)
    for name in ("model.ubj", "probes.json"):  # the manifest also names the Python that trained
        assert (machine / f"champion/v{as_of}" / name).read_bytes() == (folder / name).read_bytes()


def assert_day_is_equal(stack: Stack, data: Path, as_of: date, folder: Path) -> None:
    """To the last bit of each table, from the same champion and history."""
    written, root = stack.fetch(folder / "machine"), folder / "laptop"
    for name in ("champion", "history"):
        # The next history is published already: other content would be an error.
        s3.fetch(f"{stack.outputs['Root']}/{name}/", root / name)
    run_workflow("daily", as_of, data, root)
    tables = [path.relative_to(root) for path in sorted(root.rglob("*.parquet"))]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(root / path), pl.read_parquet(written / path), check_exact=True)
    scores = pl.read_parquet(root / f"scores/date={as_of - timedelta(days=1)}/*.parquet")
    stored = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["ScoresTable"])
    assert sum(page["Count"] for page in stored) >= scores.height


def test_what_the_glue_jobs_leave_is_the_laptops(machine: Path, laptop: Path):
    assert_glues_part_is_equal(machine, laptop, TRAINED)


def test_the_model_is_the_one_that_a_laptop_trains_on_those_features(machine: Path, tmp_path: Path):
    assert_model_is_equal(machine, TRAINED, tmp_path)


def test_the_verdict_is_the_laptops(machine: Path, trained: dict[str, Any], tmp_path: Path):
    prefix = machine / "executions" / f"training-{TRAINED}"
    before = tmp_path / "champion"
    before.mkdir()
    (before / "current.json").write_text('{"champion": null}')
    inputs = {"model": machine / f"champion/v{TRAINED}", "test": prefix / "Features/test", "champion": before}
    outputs = {name: tmp_path / name for name in ("evaluation", "summary")}
    judged = run_stage("evaluate-model", inputs, outputs, as_of=TRAINED)
    assert json.loads(trained["output"])["EvaluateModel"]["job"]["exit_message"] == judged["exit_message"]
    for name in ("verdict.json", "*.parquet"):
        (one,), (other,) = (list(root.glob(name)) for root in (outputs["evaluation"], prefix / "Evaluation/evaluation"))
        assert one.read_bytes() == other.read_bytes()


def test_the_champion_is_served_by_the_endpoint(stack: Stack, machine: Path):
    champion = json.loads((machine / "champion/current.json").read_text())["champion"]
    assert champion["model_version"] == f"v{TRAINED}"
    assert stack.hosting.state(ENDPOINT) == ("InService", champion["endpoint_configuration"])
    endpoint = stack.hosting.backend.endpoints[ENDPOINT]
    container = stack.hosting.model(endpoint).primary_container
    assert container["ModelDataUrl"] == f"{stack.outputs['Root']}/models/v{TRAINED}/model.tar.gz"
    assert container["Image"].startswith("1.dkr.ecr/fraudline/score@sha256:")


def test_a_message_that_comes_twice_trains_once(stack: Stack, machine: Path):
    """STANDARD executions are claimed by their names."""
    stack.jobs.ran.clear()
    assert len(stack.deliver("training", TRAINED)) == 1
    assert not stack.jobs.ran


# The day after it


@pytest.fixture(scope="module")
def scored(stack: Stack, machine: Path) -> dict[str, Any]:
    return stack.run("daily", SCORED)


def test_a_day_over_processing_jobs_is_the_laptops(stack: Stack, scored: dict[str, Any], data: Path, tmp_path: Path):
    assert scored["status"] == "SUCCEEDED", scored
    assert stack.jobs.ran == [step.stage.name for step in WORKFLOWS["daily"].steps]
    assert_day_is_equal(stack, data, SCORED, tmp_path)


# What fails


def test_input_that_glue_refuses_is_not_tried_again_and_its_words_are_heard(stack: Stack):
    ended = stack.run("training", date(2027, 1, 1))
    assert (ended["status"], ended["error"]) == ("FAILED", "InputRejected")
    assert stack.jobs.ran == ["fraud_data_extract"]
    (notice,) = stack.heard()
    assert notice["error"] == "InputRejected"
    assert "channel 'raw'" in notice["cause"]


def test_input_that_a_processing_job_refuses_is_not_tried_again_and_its_words_are_heard(stack: Stack):
    ended = stack.run("daily", date(2027, 1, 1))
    assert (ended["status"], ended["error"]) == ("FAILED", "InputRejected")
    assert stack.jobs.ran == ["etl"]
    (notice,) = stack.heard()
    assert "channel 'raw'" in json.loads(notice["cause"])["ExitMessage"]


def test_what_fails_each_time_is_given_up_and_its_words_are_heard(stack: Stack):
    as_of = SCORED + timedelta(days=1)
    stack.jobs.otherwise["etl"] = [FAULT] * 3
    ended = stack.run("daily", as_of)
    assert (ended["status"], ended["error"]) == ("FAILED", "StageFailed")
    assert stack.jobs.ran == ["etl"] * 3
    (notice,) = stack.heard()
    assert (notice["workflow"], notice["as_of"]) == ("daily", str(as_of))
    assert json.loads(notice["cause"])["ExitMessage"] == FAULT.message


@pytest.fixture(scope="module")
def refused(stack: Stack, machine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training on hardly any data, whose training job SageMaker has no room for at first, and that fails twice then.

    Glue's part of it is done: it lies in S3.
    """
    as_of, root = TRAINED + timedelta(days=7), tmp_path_factory.mktemp("small")
    simulate(root / "data", start=START, days=(as_of - START).days, customers=100, merchants=33, seed=11)
    run_workflow("training", as_of, root / "data", root / "written", until="feature-engineering")
    prefix = f"executions/training-{as_of}"
    s3.upload(root / "written" / prefix, f"{stack.outputs['Root']}/{prefix}/", str)
    for script in ("fraud_data_extract", "fraud_feature_eng"):
        stack.jobs.otherwise[script] = [Ended()]
    stack.jobs.otherwise["train"] = [FAULT] * 2
    stack.jobs.busy.append("ThrottlingException")
    return stack.run("training", as_of)


def test_what_may_do_at_a_second_attempt_is_tried_again(stack: Stack, refused: dict[str, Any]):
    assert stack.jobs.ran == ["fraud_data_extract", "fraud_feature_eng", *["train"] * 3, "evaluate-model"]
    limits = (30, 60, 120)  # a fault's two attempts are its own: what was throttled takes none of them
    assert all(0 <= waited <= limit for waited, limit in zip(stack.engine.waits, limits, strict=True))


def test_a_refused_challenger_leaves_champion_and_endpoint_and_is_told_with_reasons(
    stack: Stack, refused: dict[str, Any], machine: Path
):
    """Nothing failed: the execution ends well."""
    assert refused["status"] == "SUCCEEDED", refused
    (notice,) = stack.heard()
    assert notice["error"] == "Refused"
    assert notice["cause"].startswith("deploy_recommended=false: ")
    assert "floor" in notice["cause"]
    assert (
        s3.read(f"{stack.outputs['Root']}/champion/", "current.json") == (machine / "champion/current.json").read_text()
    )
    assert stack.hosting.operations == ["create"]
