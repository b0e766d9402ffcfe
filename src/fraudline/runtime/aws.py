"""One boto3 client per AWS service; boto3 honors AWS_ENDPOINT_URL."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

# boto3 waits as long as SageMaker may take to answer (60 s), and retries throttled calls itself.
_USUAL = {"retries": {"mode": "standard", "max_attempts": 5}, "read_timeout": 65}
_SETTINGS: dict[str, dict[str, Any]] = {
    "s3": {},  # its transfers have retries of their own
    # Validation costs as much time as sending, and this package builds its requests itself, so boto3 skips it.
    "dynamodb": {"retries": {"mode": "standard"}, "parameter_validation": False},
}


def region() -> str | None:
    """Return the region that the environment names, None to leave it to boto3's configuration files.

    boto3 reads AWS_DEFAULT_REGION alone; the AWS CLI and the other SDKs read AWS_REGION, and prefer it.
    """
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


@cache
def client(service: str) -> Any:
    """Return the client of a service."""
    import boto3  # noqa: PLC0415 - 0.2 s that a run on folders need not pay
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(service, region_name=region(), config=Config(**_SETTINGS.get(service, _USUAL)))
