"""The images as Lambda functions in AWS's own emulator: what a state machine would get."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import boto3
import pytest

from fraudline.catalog.stages import STAGES
from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests import emulator
from tests.emulator import invoke
from tests.entrypoints import jobs
from tests.entrypoints.test_aws_lambda import EVENT

pytestmark = pytest.mark.docker


@contextmanager
def function(stage: str) -> Iterator[str]:
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with emulator.function(jobs.image(stage), ["lambda", stage], environment) as address:
        yield address


@pytest.mark.usefixtures("aws")
def test_an_image_is_a_lambda_function_of_its_stages(tmp_path: Path):
    boto3.client("s3").create_bucket(Bucket="lake")
    simulate(tmp_path, start=date(2026, 1, 1), days=9, customers=60, merchants=60, seed=2)
    s3.upload(tmp_path, "s3://lake/", str)
    with function("etl") as address:
        answers = [invoke(address, EVENT) for _ in range(2)]  # the second runs in a warm environment
        refused = invoke(address, {**EVENT, "arguments": {"as_of": "soon"}})
        again = invoke(address, EVENT)
    assert answers[0]["counts"]["record_count"] > 50
    assert answers[0] == answers[1] == again
    assert s3.exists(answers[0]["summary"].removesuffix("summary.json"))
    assert refused["errorType"] == "InputRejected"
    assert refused["errorMessage"].startswith("--as-of: got 'soon'")


@pytest.mark.parametrize("stage", ["feature-extraction", "evaluate-model", "alert-and-store"])
@pytest.mark.usefixtures("aws")
def test_every_image_answers_as_a_function(stage: str):
    assert STAGES[stage].image != "etl"
    with function(stage) as address:
        refused = invoke(address, {"arguments": {"as_of": "2026-01-10"}})
    assert refused["errorType"] == "InputRejected"
    assert "nothing at" in refused["errorMessage"] or "no location to write" in refused["errorMessage"]
