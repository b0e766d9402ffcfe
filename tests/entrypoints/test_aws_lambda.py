"""A stage as a Lambda function: the same run as a job's, with Lambda's own answers and errors."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from fraudline.entrypoints import aws_lambda
from fraudline.entrypoints.aws_lambda import InputRejected, StageFailed
from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests.entrypoints import jobs

AS_OF = "2026-01-10"
BELOW = "s3://lake/executions/daily-{as_of}/ETL"
EVENT = {
    "arguments": {"as_of": AS_OF},
    "inputs": {"raw": "s3://lake/raw/", "labels": "s3://lake/labeled/"},
    "outputs": {name: f"{BELOW}/{name}/" for name in ("transactions", "rejected", "labels")} | {"summary": f"{BELOW}/"},
}


@pytest.fixture
def lake(aws: None, tmp_path: Path) -> Path:
    """Nine days of deliveries, in a bucket and in the folder that is returned."""
    boto3.client("s3").create_bucket(Bucket="lake")
    simulate(tmp_path / "data", start=date(2026, 1, 1), days=9, customers=60, merchants=60, seed=2)
    s3.upload(tmp_path / "data", "s3://lake/", str)
    return tmp_path / "data"


def handler(stage: str) -> Any:
    return getattr(aws_lambda, stage)


@pytest.mark.integration
def test_a_function_writes_what_a_job_writes(lake: Path, tmp_path: Path):
    answer = handler("etl")(EVENT, None)
    written = "s3://lake/executions/daily-2026-01-10/ETL/"
    s3.fetch(written, tmp_path / "written")
    summary = json.loads((tmp_path / "written/summary.json").read_text())
    assert answer["summary"] == written + "summary.json"
    assert answer["counts"]["record_count"] == summary["record_count"] > 50
    assert (answer["stage"], answer["exit_code"], answer["message"]) == ("etl", 0, "")
    assert len(json.dumps(answer)) < 2_000  # never rows: a state machine carries at most 256 KiB

    job = tmp_path / "job"
    ended = jobs.run(
        "process", "etl", job, "--as-of", AS_OF, f"--input=raw={lake}/raw", f"--input=labels={lake}/labeled"
    )
    assert ended.code == 0, ended.text
    tables = [pl.read_parquet(folder / "transactions") for folder in (tmp_path / "written", job / "processing/output")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ([], "the event must be an object of arguments, inputs, outputs, got list"),
        ({"Records": []}, "the event must be an object of arguments, inputs, outputs, got Records"),
        ({"arguments": ["2026-01-10"]}, "the event's arguments must be an object of texts by name"),
        ({"arguments": {}}, "--as-of is missing"),
        ({"arguments": {"as_of": "soon"}}, "--as-of: got 'soon'"),
        ({**EVENT, "inputs": {"rwa": "s3://lake/raw/"}}, "--input rwa=…: there is no such channel"),
        (
            {**EVENT, "inputs": {"raw": "s3://nobodys/raw/", "labels": "s3://nobodys/"}},
            "NoSuchBucket; check the bucket",
        ),
    ],
)
@pytest.mark.usefixtures("aws")
def test_wrong_input_raises_input_rejected(event: Any, message: str):
    with pytest.raises(InputRejected) as raised:
        handler("etl")(event, None)
    assert message in str(raised.value)
    assert raised.value.__context__ is None  # Lambda would log its text


@pytest.mark.usefixtures("lake")
def test_a_defect_raises_stage_failed_without_its_text(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("customer 4711")

    monkeypatch.setattr("fraudline.etl.etl.run", broken)
    with pytest.raises(StageFailed, match="ZeroDivisionError") as raised:
        handler("etl")(EVENT, None)
    assert "4711" not in str(raised.value)


def test_a_repeatable_parameter_may_be_one_text_with_commas(lake: Path):
    """A state machine's map and a stack's parameters have one text per name."""
    with pytest.raises(InputRejected, match="TERMINAL_ID"):
        handler("etl")({**EVENT, "arguments": {"as_of": AS_OF, "column": "merchant=TERMINAL_ID,amount=AMOUNT"}}, None)
    assert handler("etl")({**EVENT, "arguments": {"as_of": AS_OF, "column": ""}}, None)["exit_code"] == 0


def test_an_invocation_leaves_no_file_behind(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lambda reuses the environment, possibly for another day, and /tmp is small."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    handler("etl")(EVENT, None)
    assert list(folder.iterdir()) == []


def test_the_command_outside_of_lambda_is_an_error(tmp_path: Path):
    ended = jobs.run("process", "lambda", tmp_path, "etl")
    assert ended.code == 2
    assert "AWS_LAMBDA_RUNTIME_API is not set" in ended.text
