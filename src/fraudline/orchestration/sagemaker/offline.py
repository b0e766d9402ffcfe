"""An environment in which the SageMaker SDK needs no network, although its import already creates clients."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
}


@contextmanager
def offline() -> Iterator[None]:
    """Give the SDK the same environment on every computer while the context is open, and restore it afterwards."""
    original = dict(os.environ)
    neutral = {name: value for name, value in original.items() if not name.startswith("AWS_")}
    _set_environment(neutral | _ENVIRONMENT)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK would warn that it starts no job
        try:
            yield
        finally:
            _set_environment(original)
            logging.disable(logging.NOTSET)


def _set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
