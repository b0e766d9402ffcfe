"""The jobs that pipeline.py defines, done one after another as SageMaker would do them, over an S3."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from polars.testing import assert_frame_equal

from fraudline import s3
from fraudline.simulate import simulate
from fraudline.workflow import WORKFLOWS
from tests import defined
from tests.aws.jobs import Ended, in_process, processing, training

START, TRAINED, SCORED = date(2026, 1, 1), date(2026, 4, 1), date(2026, 4, 2)
SETTINGS = {"Rounds": "60", "Samples": "50", "MinAveragePrecision": "0.05", "MinCardPrecision": "0"}
ROOT, DATA = "s3://written/fraud", "s3://delivered"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3._client.cache_clear()
        for bucket in ("written", "delivered"):
            boto3.client("s3").create_bucket(Bucket=bucket)
        yield
    s3._client.cache_clear()
    moto.stop()


def execute(workflow: str, folder: Path, **given: str) -> dict[str, dict[str, Any]]:
    """Every job of an execution, and what each said in its summary."""
    definition = json.loads(defined.printed(workflow))
    requests = defined.resolved(definition, {"Root": ROOT, "Data": DATA, "DataVersion": "1", **given})
    stages = {step.stage.step: step.stage for step in WORKFLOWS[workflow]}
    summaries: dict[str, dict[str, Any]] = {}
    for name, request in requests.items():
        ml = folder / name
        if stages[name].host == "training":
            assert training({**request, "TrainingJobName": "a-job"}, ml, in_process) == Ended()
            continue
        ended = processing(request, ml, in_process)
        assert not ended.failure, ended
        summaries[name] = json.loads((ml / "processing/output/summary/summary.json").read_text())
    return summaries


def fraudline(*arguments: object) -> None:
    command = [sys.executable, "-m", "fraudline", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.pipeline
@pytest.mark.usefixtures("bucket")
def test_the_jobs_of_both_pipelines_leave_what_a_laptop_leaves(tmp_path: Path):
    """Every address, argument and mount proves itself by the next job finding what the last one wrote."""
    data, root, jobs = tmp_path / "data", tmp_path / "root", tmp_path / "jobs"
    simulate(data, start=START, days=(SCORED - START).days, customers=900, merchants=300, seed=11)
    settings = ["--set", "rounds=60", "--set", "samples=50", "--set", "min_average_precision=0.05"]
    for arguments in (
        ["training", "--as-of", str(TRAINED), *settings, "--set", "min_card_precision=0"],
        ["daily", "--as-of", str(SCORED)],
    ):
        fraudline("run", *arguments, "--data", data, "--root", root)

    s3.upload(data, DATA, str)
    champion = tmp_path / "champion"
    champion.mkdir()
    (champion / "current.json").write_text('{"champion": null}\n')
    s3.upload(champion, f"{ROOT}/champion/", str)
    verdict = execute("training", jobs, AsOf=str(TRAINED), **SETTINGS)["EvaluateModel"]
    assert verdict["deploy_recommended"] is True
    execute("daily", jobs, AsOf=str(SCORED), Day=str(TRAINED))

    written = tmp_path / "written"
    s3.fetch(f"{ROOT}/", written)
    tables = [path.relative_to(root) for path in sorted(root.rglob("*.parquet"))]
    assert {path.parts[0] for path in tables} == {"executions", "history", "scores"}
    for path in tables:
        assert_frame_equal(pl.read_parquet(root / path), pl.read_parquet(written / path))
    pointers = [json.loads((place / "champion" / "current.json").read_text())["champion"] for place in (root, written)]
    assert pointers[0]["model_version"] == pointers[1]["model_version"]
