"""The pipelines, executed: SageMaker's local mode runs the images in Docker, over S3 and a registry of this machine."""

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
from tests import defined

pytestmark = [pytest.mark.docker, pytest.mark.pipeline]

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SETTINGS = {"rounds": "60", "samples": "50", "min_average_precision": "0.05", "min_card_precision": "0"}


@dataclass(frozen=True)
class Ended:
    """A pipeline that ran: whether it succeeded, how each step ended, and all that a user read."""

    succeeded: bool
    steps: dict[str, str]
    said: str


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST"))}


def run_local(workflow: str, as_of: date, data: Path, root: Path, **settings: str) -> Ended:
    """What README.md tells a user to run."""
    command = [defined.PYTHON, "pipeline.py", "run-local", "--workflow", workflow, "--as-of", str(as_of)]
    command += ["--data", data, "--root", root]
    command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    ended = subprocess.run(
        command, cwd=defined.REPOSITORY, env=environment(), capture_output=True, text=True, check=False, timeout=600
    )
    steps = {words[0]: words[1] for line in ended.stdout.splitlines() if len(words := line.split()) > 1}
    return Ended(ended.returncode == 0, steps, ended.stdout + ended.stderr[-2000:] * (ended.returncode > 1))


def fraudline(*arguments: object) -> None:
    command = [sys.executable, "-m", "fraudline", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivered")
    simulate(folder, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    return folder


@pytest.fixture(scope="module")
def root(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training, and the day after it, as SageMaker pipelines."""
    folder = tmp_path_factory.mktemp("pipelines") / "root"
    trained = run_local("training", TRAINED, data, folder, **SETTINGS)
    assert trained.succeeded, trained.said
    assert trained.steps.pop("fraud-model-training:") == "Succeeded"
    stages = {step.stage.step for step in WORKFLOWS["training"].steps}
    assert trained.steps == dict.fromkeys([*stages, "Gate", "Approval", "RegisterModel"], "Succeeded")
    detected = run_local("daily", SCORED, data, folder)
    assert detected.succeeded, detected.said
    return folder


def test_a_pipeline_leaves_what_a_laptop_leaves_bit_for_bit(data: Path, root: Path, tmp_path: Path):
    """Features, model, scores, alerts, history: whichever way a stage is started, it is the same stage."""
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


def test_a_model_is_registered_approved_with_its_image_and_its_verdict(root: Path):
    (package,) = (root / "model-packages" / "fraud-detection").iterdir()
    registered = json.loads(package.read_text())
    (container,) = registered["InferenceSpecification"]["Containers"]
    assert registered["ModelApprovalStatus"] == "Approved"
    assert container["Image"] == "fraudline/score:dev"
    artifact = container["ModelDataUrl"].removeprefix("s3://fraudline/root/")
    assert (root / artifact).name == "model.tar.gz"
    assert (root / artifact).is_file()


def pointer(root: Path) -> str:
    return (root / "champion" / "current.json").read_text()


def test_a_worse_challenger_fails_with_the_gates_reasons_and_changes_nothing(data: Path, root: Path):
    before, packages = pointer(root), sorted((root / "model-packages").rglob("*.json"))
    ended = run_local("training", TRAINED, data, root, **SETTINGS | {"min_average_precision": "0.99"})
    assert not ended.succeeded
    assert re.search(r"Refused +Failed .*average_precision 0\.\d+ is below the floor of 0\.990", ended.said)
    assert {"RegisterModel", "DeployModel"}.isdisjoint(ended.steps)
    assert pointer(root) == before
    assert sorted((root / "model-packages").rglob("*.json")) == packages


def test_where_a_person_approves_nothing_is_deployed_until_the_deployment_is_started(data: Path, root: Path):
    before = pointer(root)
    ended = run_local("training", TRAINED, data, root, **SETTINGS, Approval="PendingManualApproval")
    assert ended.succeeded, ended.said
    assert "DeployModel" not in ended.steps
    assert pointer(root) == before
    newest = max((root / "model-packages" / "fraud-detection").iterdir(), key=lambda path: int(path.stem))
    registered = json.loads(newest.read_text())
    assert registered["ModelApprovalStatus"] == "PendingManualApproval"
    model = registered["CustomerMetadataProperties"]["Model"]
    ended = run_local("deployment", TRAINED, data, root, Model=model)
    assert ended.succeeded, ended.said
    assert json.loads(pointer(root))["champion"]["execution"] == f"deployment-{TRAINED}"


def test_a_failing_stage_tells_its_own_message(data: Path, root: Path):
    """Not "exit code 2": the sentence that names the channel, what was expected, and what to do."""
    ended = run_local("daily", date(2026, 5, 1), data, root)
    assert not ended.succeeded
    failed = next(line for line in ended.said.splitlines() if line.startswith("ETL") and "Failed" in line)
    assert "channel 'raw'" in failed
    assert "FeatureExtraction" not in ended.steps


def test_nothing_is_left_behind_in_the_engine(root: Path):
    """The SDK leaves its containers and a network."""
    listed = ["docker", "ps", "--all", "--format", "{{.Labels}}"]
    assert "fraudline-" not in subprocess.run(listed, capture_output=True, text=True, check=True).stdout


@contextmanager
def served(root: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [defined.PYTHON, "pipeline.py", "serve-local", "--root", root, "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=defined.REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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
    """Through the very calls of production, with only the address of the endpoint set."""
    probes = json.loads((root / "champion" / f"v{TRAINED}" / "probes.json").read_text())
    body = json.dumps({"instances": [{"features": row} for row in probes["rows"]]})
    keys = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with served(root) as address:
        runtime = boto3.client(
            "sagemaker-runtime", endpoint_url=address, region_name="us-east-1", aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip
        answer = runtime.invoke_endpoint(EndpointName="fraud-detection", ContentType="application/json", Body=body)
        by_boto3 = json.loads(answer["Body"].read())
        asked = subprocess.run(
            [defined.PYTHON, "-W", "ignore", "-c", SDK],
            env=environment() | keys | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": address},
            input=body,
            capture_output=True,
            text=True,
            check=False,
        )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout.splitlines()[-1]) == by_boto3
    assert [score["fraud_score"] for score in by_boto3["predictions"]] == pytest.approx(probes["scores"], abs=1e-9)
