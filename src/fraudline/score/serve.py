"""The server's stage: loads the model, proves that it scores as it did, and listens."""

from __future__ import annotations

import os

import uvicorn

from fraudline.catalog.stage import Summary
from fraudline.model.model import load
from fraudline.runtime.channels import Channels
from fraudline.score.server import Application

GRACE = 20  # seconds for requests under way; SageMaker kills 30 s after it asks to stop


def run(channels: Channels, host: str, port: int) -> Summary:
    """Serve until SIGTERM; refuses to start with a model that does not reproduce its probes."""
    application = Application(load(channels))
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", port))
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run()
    return {"status": "Stopped"}
