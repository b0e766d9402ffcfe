"""Load the model, check its probes, and serve it over HTTP."""

from __future__ import annotations

import uvicorn

from fraudline.catalog.environment import BIND_TO_PORT
from fraudline.catalog.stage import Summary
from fraudline.model.model import load
from fraudline.runtime.channels import Channels
from fraudline.score.server import Application

GRACE = 20  # seconds for requests in progress; SageMaker kills the container 30 s after SIGTERM


def run(channels: Channels, host: str, port: int) -> Summary:
    """Serve until SIGTERM.

    Raises:
        InputError: the model does not reproduce its probes, so it must not serve.
    """
    application = Application(load(channels))
    bound = BIND_TO_PORT.value()
    config = uvicorn.Config(
        application,
        host=host,
        port=port if bound is None else bound,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run()
    return {"status": "Stopped"}
