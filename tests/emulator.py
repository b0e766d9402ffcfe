"""Lambda functions of the images, as the service starts them, in AWS's own emulator."""

from __future__ import annotations

import json
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
PATH = "2015-03-31/functions/function/invocations"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def function(image: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Start a function of an image, on a file system that is read-only but for /tmp, and yield its URL.

    It answers one event at a time: a concurrent one makes the emulator crash.
    """
    if not EMULATOR.is_file():
        pytest.fail("AWS's Lambda emulator is missing: make .venv/bin/aws-lambda-rie")
    port, inner = free_port(), free_port()
    run = ["docker", "run", "-d", "--network", "host", "--read-only", "--tmpfs", "/tmp"]
    run += [f"--env={name}={value}" for name, value in environment.items()]
    run += ["-v", f"{EMULATOR}:/rie:ro", "--entrypoint", "/rie", image]
    run += ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    run += ["--runtime-api-address", f"127.0.0.1:{inner}"]
    container = subprocess.run([*run, "fraudline", *command], check=False, capture_output=True, text=True)
    assert container.returncode == 0, f"{image} does not start ({container.stderr.strip()}); make images"
    try:
        yield f"http://127.0.0.1:{port}/{PATH}"
    finally:
        subprocess.run(["docker", "rm", "-f", container.stdout.strip()], check=True, capture_output=True)


def invoke(url: str, event: Any, timeout: float = 120) -> Any:
    """Return a function's answer, or the object by which Lambda reports its error."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=timeout) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.1)  # not up yet
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
    raise AssertionError("the emulator did not start")
