"""Lambda functions of the images, as the service starts them, in AWS's own emulator."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

EMULATOR = Path(sys.executable).with_name("aws-lambda-rie")
INIT_SECONDS = 10
TIMED_OUT = re.compile(r"Task timed out after [\d.]+ seconds")
PATH = "2015-03-31/functions/function/invocations"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def function(
    image: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    memory: int | None = None,
    program: Sequence[str] = ("fraudline",),
) -> Iterator[str]:
    """Start a function of an image, on a file system that is read-only but for /tmp, and yield its URL.

    It answers one event at a time: a concurrent one makes the emulator crash. The emulator itself ends an invocation
    after AWS_LAMBDA_FUNCTION_TIMEOUT seconds.

    Args:
        image: the image with its tag.
        command: the arguments of the program.
        environment: variables of the function.
        memory: its memory in MiB. Here, unlike on Lambda, files in /tmp count, too.
        program: what answers the events.

    Raises:
        AssertionError: the init phase took longer than Lambda's.
    """
    if not EMULATOR.is_file():
        pytest.fail("AWS's Lambda emulator is missing: make .venv/bin/aws-lambda-rie")
    port, inner = free_port(), free_port()
    run = ["docker", "run", "-d", "--network", "host", "--read-only", "--tmpfs", "/tmp"]
    if memory is not None:
        run += [f"--memory={memory}m", f"--memory-swap={memory}m"]
    run += [f"--env={name}={value}" for name, value in environment.items()]
    run += ["-v", f"{EMULATOR}:/rie:ro", "--entrypoint", "/rie", image]
    run += ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    run += ["--runtime-api-address", f"127.0.0.1:{inner}"]
    container = subprocess.run([*run, *program, *command], check=False, capture_output=True, text=True)
    assert container.returncode == 0, f"{image} does not start ({container.stderr.strip()}); make images"
    name = container.stdout.strip()
    try:
        yield f"http://127.0.0.1:{port}/{PATH}"
        _check_init_phase(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def _check_init_phase(container: str) -> None:
    """Fail if the function was not ready in Lambda's init phase, which the emulator does not limit itself.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    """
    log = subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True).stderr
    report = re.search(r"phase: init\).*?INIT REPORT\(durationMs: ([\d.]+)\)", log, re.DOTALL)
    seconds = float(report[1]) / 1000 if report else 0.0
    assert seconds <= INIT_SECONDS, f"the init phase took {seconds:.1f} s; Lambda would start again in the first event"


def invoke(url: str, event: Any, timeout: float = 120) -> Any:
    """Return a function's answer, or the object by which Lambda reports its error."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=timeout) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            return json.load(error)  # the process ended, for example for want of memory
        except ConnectionError:
            time.sleep(0.1)  # not up yet
            continue
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
            continue
        if TIMED_OUT.fullmatch(text):  # the emulator's answer; Lambda's has a type
            return {"errorType": "Sandbox.Timedout", "errorMessage": f"Error: {text}"}
        return json.loads(text)
    raise AssertionError("the emulator did not start")
