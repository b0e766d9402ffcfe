"""The pipelines, executed: SageMaker's local mode runs the images in Docker, over this computer's S3 and registry."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.workflow import WORKFLOWS
from fraudline.simulate import simulate
from tests import pipeline_script

pytestmark = [pytest.mark.docker, pytest.mark.pipeline]

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SETTINGS = {"rounds": "60", "samples": "50", "min_average_precision": "0.05", "min_card_precision": "0"}


@dataclass(frozen=True)
class Finished:
    """A finished pipeline.

    Attributes:
        succeeded: True where every step succeeded.
        steps: the last status of each step, by its name.
        output: all that the command printed.
    """

    succeeded: bool
    steps: dict[str, str]
    output: str


def environment() -> dict[str, str]:
    """Return this process's environment without its AWS."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST"))}


def run_local(workflow: str, as_of: date, data: Path, root: Path, **settings: str) -> Finished:
    """Run a pipeline as a user does."""
    command = [pipeline_script.PYTHON, "pipeline.py", "run-local", "--workflow", workflow, "--as-of", str(as_of)]
    command += ["--data", data, "--root", root]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    process = subprocess.run(
        command,
        cwd=pipeline_script.REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    steps = {words[0]: words[1] for line in process.stdout.splitlines() if len(words := line.split()) > 1}
    output = process.stdout
    if process.returncode > 1:  # not the pipeline failed, but the command
        output += process.stderr[-2000:]
    return Finished(process.returncode == 0, steps, output)


def fraudline(*arguments: object) -> None:
    """Run the command line."""
    command = [sys.executable, "-m", "fraudline", *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    simulate(folder, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    return folder


def sdk_containers() -> set[str]:
    """Return the labels of the containers that the SDK started in a folder of ours."""
    command = ["docker", "ps", "--all", "--format", "{{.Labels}}"]
    labels = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in labels if "fraudline-" in line}


@pytest.fixture(scope="module")
def earlier_containers() -> set[str]:
    """Return the containers of earlier runs that were killed."""
    return sdk_containers()


@pytest.fixture(scope="module")
def root(data: Path, earlier_containers: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a training and the day after it as pipelines, and return their root."""
    folder = tmp_path_factory.mktemp("pipelines") / "root"
    training = run_local("training", TRAINED, data, folder, **SETTINGS)
    assert training.succeeded, training.output
    assert training.steps.pop("fraud-model-training:") == "Succeeded"
    stages = {step.stage.step for step in WORKFLOWS["training"].steps}
    assert training.steps == dict.fromkeys([*stages, "Gate", "Approval", "RegisterModel"], "Succeeded")
    daily = run_local("daily", SCORED, data, folder)
    assert daily.succeeded, daily.output
    return folder


def test_pipelines_equal_the_local_run_bit_for_bit(data: Path, root: Path, tmp_path: Path):
    """Features, model, scores, alerts and history."""
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    fraudline("run", "training", "--as-of", TRAINED, "--data", data, "--root", tmp_path, *settings)
    fraudline("run", "daily", "--as-of", SCORED, "--data", data, "--root", tmp_path)
    tables = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.parquet"))]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(tmp_path / path), pl.read_parquet(root / path))
    alerts = f"executions/daily-{SCORED}/Results/results/alerts.jsonl"
    for path in (f"champion/v{TRAINED}/model.ubj", f"champion/v{TRAINED}/probes.json", alerts):
        assert (tmp_path / path).read_bytes() == (root / path).read_bytes(), path
    assert (root / f"reports/date={TRAINED}/fraud-daily-{TRAINED}.pdf").read_bytes().startswith(b"%PDF")


def test_a_model_is_registered_as_approved_with_its_image(root: Path):
    (package,) = (root / "model-packages" / "fraud-detection").iterdir()
    registered = json.loads(package.read_text())
    (container,) = registered["InferenceSpecification"]["Containers"]
    assert registered["ModelApprovalStatus"] == "Approved"
    assert container["Image"] == "fraudline/score:dev"
    artifact = container["ModelDataUrl"].removeprefix("s3://fraudline/root/")
    assert (root / artifact).name == "model.tar.gz"
    assert (root / artifact).is_file()


def pointer(root: Path) -> str:
    """Return the content of the champion pointer."""
    return (root / "champion" / "current.json").read_text()


def test_a_refused_challenger_fails_with_reasons_and_changes_nothing(data: Path, root: Path):
    champion, packages = pointer(root), sorted((root / "model-packages").rglob("*.json"))
    finished = run_local("training", TRAINED, data, root, **SETTINGS | {"min_average_precision": "0.99"})
    assert not finished.succeeded
    assert re.search(r"Refused +Failed .*average_precision 0\.\d+ is below the floor of 0\.990", finished.output)
    assert {"RegisterModel", "DeployModel"}.isdisjoint(finished.steps)
    assert pointer(root) == champion
    assert sorted((root / "model-packages").rglob("*.json")) == packages


def test_a_model_that_awaits_approval_is_deployed_by_its_own_pipeline(data: Path, root: Path):
    champion = pointer(root)
    finished = run_local("training", TRAINED, data, root, **SETTINGS, Approval="PendingManualApproval")
    assert finished.succeeded, finished.output
    assert "DeployModel" not in finished.steps
    assert pointer(root) == champion
    newest = max((root / "model-packages" / "fraud-detection").iterdir(), key=lambda path: int(path.stem))
    registered = json.loads(newest.read_text())
    assert registered["ModelApprovalStatus"] == "PendingManualApproval"
    model = registered["CustomerMetadataProperties"]["Model"]
    finished = run_local("deployment", TRAINED, data, root, Model=model)
    assert finished.succeeded, finished.output
    assert json.loads(pointer(root))["champion"]["execution"] == f"deployment-{TRAINED}"


def test_a_failed_step_shows_its_stages_message(data: Path, root: Path):
    """Not "exit code 2", but the sentence that names the channel and what to do."""
    finished = run_local("daily", date(2026, 5, 1), data, root)
    assert not finished.succeeded
    line = next(line for line in finished.output.splitlines() if line.startswith("ETL") and "Failed" in line)
    assert "channel 'raw'" in line
    assert "FeatureExtraction" not in finished.steps


@pytest.mark.usefixtures("root")
def test_no_container_is_left_in_the_docker_engine(earlier_containers: set[str]):
    """The SDK itself leaves its containers and a network."""
    assert sdk_containers() <= earlier_containers


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the registered model, and yield the endpoint's URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [pipeline_script.PYTHON, "pipeline.py", "serve-local", "--root", root, "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=pipeline_script.REPOSITORY,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert "serving arn:" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


SDK = """
import json, sys
from sagemaker.core.resources import Endpoint
answer = Endpoint(endpoint_name="fraud-detection").invoke(body=sys.stdin.read(), content_type="application/json")
print(answer.body.read().decode())
"""


def test_the_registered_model_answers_the_sdk_and_plain_boto3(root: Path):
    """The calls are those of production; only the endpoint's URL is set."""
    probes = json.loads((root / "champion" / f"v{TRAINED}" / "probes.json").read_text())
    body = json.dumps({"instances": [{"features": row} for row in probes["rows"]]})
    keys = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with served(root) as url:
        runtime = boto3.client(
            "sagemaker-runtime", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip
        answer = runtime.invoke_endpoint(EndpointName="fraud-detection", ContentType="application/json", Body=body)
        by_boto3 = json.loads(answer["Body"].read())
        process = subprocess.run(
            [pipeline_script.PYTHON, "-W", "ignore", "-c", SDK],
            env=environment() | keys | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url},
            input=body,
            capture_output=True,
            text=True,
            check=False,
        )
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout.splitlines()[-1]) == by_boto3
    assert [score["fraud_score"] for score in by_boto3["predictions"]] == pytest.approx(probes["scores"], abs=1e-9)
