"""The images as Lambda functions in AWS's own emulator: what a state machine would get."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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


# A function that sleeps before its first event, and then sleeps or allocates memory as an event says.
WASTEFUL = """
import os, sys, time
from types import ModuleType

def handle(event, context):
    time.sleep(event.get("seconds", 0))
    return len(bytes(event.get("mib", 0) << 20).replace(b"\\0", b"1"))

time.sleep(float(os.environ["SLEEP"]))
sys.modules["wasteful"] = ModuleType("wasteful")
sys.modules["wasteful"].handle = handle
from awslambdaric.__main__ import main
main(["", "wasteful.handle"])
"""


def wasteful(sleep: float, seconds: int = 60) -> AbstractContextManager[str]:
    environment = {"SLEEP": str(sleep), "AWS_LAMBDA_FUNCTION_TIMEOUT": str(seconds)}
    program = ("python3", "-c", WASTEFUL)
    return emulator.function(jobs.tagged("etl"), [], environment, memory=256, program=program)


def test_a_function_has_the_memory_and_time_of_its_configuration():
    """The error types are Lambda's; a new process answers the next event.

    https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
    """
    with wasteful(sleep=0, seconds=3) as address:
        assert invoke(address, {"mib": 1}) == 1 << 20
        slow = invoke(address, {"seconds": 5})
        large = invoke(address, {"mib": 600})
        assert invoke(address, {"mib": 1}) == 1 << 20
    assert slow == {"errorType": "Sandbox.Timedout", "errorMessage": "Error: Task timed out after 3.00 seconds"}
    assert large["errorType"] == "Runtime.ExitError"
    assert large["errorMessage"].endswith("signal: killed")


def test_a_function_is_ready_within_the_init_phase():
    with pytest.raises(AssertionError, match=r"the init phase took 1\d\.\d s"), wasteful(sleep=11) as address:
        assert invoke(address, {"mib": 1}) == 1 << 20
