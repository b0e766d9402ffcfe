"""Clients of the services that are asked now and then; boto3 honours AWS_ENDPOINT_URL."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def client(service: str) -> Any:
    """A service's client, which tries again by itself what is throttled or fails on the way."""
    import boto3  # noqa: PLC0415 - 0.2 s that a run on folders need not pay
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 5}, read_timeout=65))


def code(error: Exception) -> str:
    """What a service answered instead of what it was asked for; empty where it did not answer."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
