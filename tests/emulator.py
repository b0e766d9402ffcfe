"""AWS's own emulator of Lambda around the images: a function as the service would start it."""

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
    """A function of an image as Lambda starts it: read-only but for /tmp; the address that invokes it.

    It answers one event at a time: a second one beside it makes the emulator crash.
    """
    if not EMULATOR.is_file():
        pytest.fail("AWS's Lambda emulator is missing: make .venv/bin/aws-lambda-rie")
    port, inner = free_port(), free_port()
    given = [f"--env={name}={value}" for name, value in environment.items()]
    run = ["docker", "run", "-d", "--network", "host", "--read-only", "--tmpfs", "/tmp", *given]
    run += ["-v", f"{EMULATOR}:/rie:ro", "--entrypoint", "/rie", image]
    emulated = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    emulated += ["--runtime-api-address", f"127.0.0.1:{inner}"]
    started = subprocess.run([*run, *emulated, "fraudline", *command], check=False, capture_output=True, text=True)
    assert started.returncode == 0, f"{image} does not start ({started.stderr.strip()}); make images"
    try:
        yield f"http://127.0.0.1:{port}/{PATH}"
    finally:
        subprocess.run(["docker", "rm", "-f", started.stdout.strip()], check=True, capture_output=True)


def invoke(address: str, event: Any, timeout: float = 120) -> Any:
    """What a function answers, or the object by which it tells an error."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, json.dumps(event).encode(), timeout=timeout) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.1)  # it is not up yet
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            time.sleep(0.1)
    raise AssertionError("the emulator did not come up")
