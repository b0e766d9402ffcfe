"""The single table of environment variables that commands and images read; the documents list it too."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fraudline.catalog.stage import REQUIRED, Parameter
from fraudline.catalog.stages import LABEL_DELAY, THRESHOLD, URGENT_LOSS


@dataclass(frozen=True)
class Variable:
    """An environment variable.

    Attributes:
        name: its name in the environment.
        description: what its value decides.
        type: parses its text, and raises ValueError if that is impossible.
        default: the value if it is unset or empty.
    """

    name: str
    description: str
    type: Callable[[str], Any] = str
    default: Any = REQUIRED

    @property
    def default_text(self) -> str:
        """Return the default as text, or an empty string if there is none."""
        return "" if self.default in (REQUIRED, None) else str(self.default)

    def value(self) -> Any:
        """Return the parsed value, or the default if the variable is unset or empty.

        Raises:
            RuntimeError: the variable is unset and has no default.
        """
        if text := os.environ.get(self.name):
            return self.type(text)
        if self.default is REQUIRED:
            raise RuntimeError(f"environment variable {self.name} is not set: {self.description}")
        return self.default


def _parameter(parameter: Parameter) -> Variable:
    """Return the variable that passes a parameter of the daily stages to a Lambda function."""
    name = f"FRAUDLINE_{parameter.name.upper()}"
    return Variable(name, f"{parameter.description} ({parameter.unit})", parameter.type, parameter.default)


# These two are not parsed: logging must work even if their values are wrong.
LOG = Variable(
    "FRAUDLINE_LOG", "plain for people, or json for one JSON object a line; the images set json", default="plain"
)
LOG_VALUES = Variable(
    "FRAUDLINE_LOG_VALUES",
    "true shows the text of unforeseen errors, which may quote a customer's data",
    default="false",
)
ML_ROOT = Variable("FRAUDLINE_ML_ROOT", "the folder that SageMaker mounts into a container", default="/opt/ml")
TRAINING_JOB_NAME = Variable(
    "TRAINING_JOB_NAME", "name of the Training job, set by SageMaker Training, for the summary", default=None
)
TRAINING_JOB_ARN = Variable(
    "TRAINING_JOB_ARN", "ARN of the Training job, set by SageMaker Training, for the summary", default=None
)
BIND_TO_PORT = Variable(
    "SAGEMAKER_BIND_TO_PORT", "port of the server, set by SageMaker Hosting; overrides --port", int, None
)
HISTORY = Variable("FRAUDLINE_HISTORY", "the history of the real-time path: dynamodb://TABLE")
CHAMPION = Variable("FRAUDLINE_CHAMPION", "the champion of the real-time path: s3://BUCKET/PREFIX/")
TOPIC = Variable(
    "FRAUDLINE_TOPIC", "ARN of the SNS topic for alerts of the real-time path; without it none are sent", default=""
)
FUNCTION_LABEL_DELAY = _parameter(LABEL_DELAY)
FUNCTION_THRESHOLD = _parameter(THRESHOLD)
FUNCTION_URGENT_LOSS = _parameter(URGENT_LOSS)

# Every command reads COMMON; SageMaker sets SAGEMAKER; the functions of the real-time path read REAL_TIME.
COMMON = (LOG, LOG_VALUES, ML_ROOT)
SAGEMAKER = (TRAINING_JOB_NAME, TRAINING_JOB_ARN, BIND_TO_PORT)
REAL_TIME = (HISTORY, CHAMPION, TOPIC, FUNCTION_LABEL_DELAY, FUNCTION_THRESHOLD, FUNCTION_URGENT_LOSS)
VARIABLES = (*COMMON, *SAGEMAKER, *REAL_TIME)
