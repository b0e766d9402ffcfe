"""Run the real server on this computer, in its own process, for smoke tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraudline.catalog.errors import InputError
from fraudline.score import client

START_TIMEOUT = 120  # seconds until the first healthy /ping
STOP_TIMEOUT = 30


@contextmanager
def local_server(folder: Path) -> Iterator[str]:
    """Serve an artifact on a free port, and yield the server's URL.

    Raises:
        InputError: the server does not become healthy in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fraudline", "serve", "--input", f"model={folder}"]
    # Without SAGEMAKER_BIND_TO_PORT, which would override the port.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SAGEMAKER_")}
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], env=environment)  # noqa: S603
    try:
        url = f"http://127.0.0.1:{port}"
        _await_healthy(server, url)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=STOP_TIMEOUT)


def _await_healthy(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if client.request(url, "GET", "/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    stopped = server.poll() is not None
    reason = f"stopped with code {server.returncode}" if stopped else "never became healthy"
    raise InputError(f"the smoke test failed: the server {reason}; its log is above")
