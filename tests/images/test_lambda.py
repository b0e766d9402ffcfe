"""The images as Lambda functions, under AWS's own emulator: what a state machine of the service would get."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest

from fraudline import s3
from fraudline.simulate import simulate
from fraudline.stages import STAGES
from tests.hosts import jobs
from tests.hosts.test_aws_lambda import EVENT

pytestmark = pytest.mark.docker

EMULATOR = Path(sys.executable).with_name("aws-lambda-rie")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def function(stage: str) -> Iterator[str]:
    """A function of a stage's image as Lambda starts it: read-only but for /tmp; the address that invokes it."""
    if not EMULATOR.is_file():
        pytest.fail("AWS's Lambda emulator is missing: make .venv/bin/aws-lambda-rie")
    port, inner = free_port(), free_port()
    environment = [f"--env={name}" for name in os.environ if name.startswith("AWS_")]
    run = ["docker", "run", "-d", "--network", "host", "--read-only", "--tmpfs", "/tmp", *environment]
    run += ["-v", f"{EMULATOR}:/rie:ro", "--entrypoint", "/rie", jobs.image(stage)]
    emulated = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    emulated += ["--runtime-api-address", f"127.0.0.1:{inner}"]
    started = subprocess.run(
        [*run, *emulated, "fraudline", "lambda", stage], check=True, capture_output=True, text=True
    )
    try:
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    finally:
        subprocess.run(["docker", "rm", "-f", started.stdout.strip()], check=True, capture_output=True)


def invoke(address: str, event: Any) -> dict[str, Any]:
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, json.dumps(event).encode(), timeout=120) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except ConnectionError:
            time.sleep(0.1)  # it is not up yet
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
    raise AssertionError("the emulator did not come up")


@pytest.mark.usefixtures("aws")
def test_an_image_is_a_lambda_function_of_its_stages(tmp_path: Path):
    boto3.client("s3").create_bucket(Bucket="lake")
    simulate(tmp_path, start=date(2026, 1, 1), days=9, customers=60, merchants=60, seed=2)
    s3.upload(tmp_path, "s3://lake/", str)
    with function("etl") as address:
        answers = [invoke(address, EVENT) for _ in range(2)]  # the second finds a warm machine
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
    assert "nothing at" in refused["errorMessage"] or "no place to write" in refused["errorMessage"]
