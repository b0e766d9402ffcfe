"""A definition asks nobody, though the SDK makes clients, on import already, that want a region and keys."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from fraudline.entrypoints import opt_ml

_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": os.devnull,
    "SAGEMAKER_USER_CONFIG_OVERRIDE": os.devnull,
    opt_ml.ROOT_VARIABLE: "/opt/ml",
}


@contextmanager
def offline() -> Iterator[None]:
    """While it is open, the SDK finds an environment that is the same on every machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with patch.dict(os.environ, kept | _ENVIRONMENT, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no job is started here
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
