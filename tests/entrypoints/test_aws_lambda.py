"""A stage as a Lambda function: the same run as a job's, its ends told as Lambda tells them."""

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
    """A bucket with nine days of deliveries, and the same as a folder."""
    boto3.client("s3").create_bucket(Bucket="lake")
    simulate(tmp_path / "data", start=date(2026, 1, 1), days=9, customers=60, merchants=60, seed=2)
    s3.upload(tmp_path / "data", "s3://lake/", str)
    return tmp_path / "data"


def handler(stage: str) -> Any:
    return getattr(aws_lambda, stage)


def test_a_function_leaves_what_a_job_leaves_and_answers_in_few_words(lake: Path, tmp_path: Path):
    answer = handler("etl")(EVENT, None)
    written = "s3://lake/executions/daily-2026-01-10/ETL/"
    s3.fetch(written, tmp_path / "written")
    summary = json.loads((tmp_path / "written/summary.json").read_text())
    assert answer["summary"] == written + "summary.json"
    assert answer["counts"]["record_count"] == summary["record_count"] > 50
    assert (answer["stage"], answer["exit_code"], answer["message"]) == ("etl", 0, "")
    assert len(json.dumps(answer)) < 2_000  # never the rows, of which a state machine could carry 256 KiB

    job = tmp_path / "job"
    ended = jobs.run(
        "process", "etl", job, "--as-of", AS_OF, f"--input=raw={lake}/raw", f"--input=labels={lake}/labeled"
    )
    assert ended.code == 0, ended.text
    tables = [pl.read_parquet(folder / "transactions") for folder in (tmp_path / "written", job / "processing/output")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("event", "says"),
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
def test_what_to_try_again_can_not_mend_has_a_name_of_its_own(event: Any, says: str):
    with pytest.raises(InputRejected) as raised:
        handler("etl")(event, None)
    assert says in str(raised.value)
    assert raised.value.__context__ is None  # whose text the runtime would log


def test_a_fault_of_ours_may_be_tried_again_and_quotes_nobody(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("customer 4711")

    monkeypatch.setattr("fraudline.etl.etl.run", broken)
    with pytest.raises(StageFailed, match="ZeroDivisionError") as raised:
        handler("etl")(EVENT, None)
    assert "4711" not in str(raised.value)


def test_what_may_be_given_several_times_may_be_one_text_with_commas(lake: Path):
    """A state machine's map, and a stack's parameter, have one text a name."""
    with pytest.raises(InputRejected, match="TERMINAL_ID"):
        handler("etl")({**EVENT, "arguments": {"as_of": AS_OF, "column": "merchant=TERMINAL_ID,amount=AMOUNT"}}, None)
    assert handler("etl")({**EVENT, "arguments": {"as_of": AS_OF, "column": ""}}, None)["exit_code"] == 0


def test_an_invocation_leaves_nothing_on_a_warm_machine(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The next one may be another day's, and /tmp is all the room there is."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    handler("etl")(EVENT, None)
    assert list(folder.iterdir()) == []


def test_outside_of_lambda_the_command_says_so(tmp_path: Path):
    ended = jobs.run("process", "lambda", tmp_path, "etl")
    assert ended.code == 2
    assert "AWS_LAMBDA_RUNTIME_API is not set" in ended.text
