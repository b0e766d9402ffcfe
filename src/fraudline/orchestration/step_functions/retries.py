"""When Step Functions tries a task again: only what may succeed at a later attempt."""

from __future__ import annotations

from typing import Any

from fraudline.entrypoints.aws_lambda import StageFailed

Retry = dict[str, Any]

FAILED = StageFailed.__name__

# Executions that failed together must not try again together.
_SPREAD = {"BackoffRate": 2.0, "JitterStrategy": "FULL"}


def _busy(*errors: str, seconds: int) -> Retry:
    return {"ErrorEquals": [*errors], "IntervalSeconds": seconds, "MaxAttempts": 4, **_SPREAD}


LAMBDA_IS_BUSY = _busy(
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    seconds=2,
)
# An error without a name in a service's API, such as throttling, comes under the service's name.
SAGEMAKER_IS_BUSY = _busy("SageMaker.AmazonSageMakerException", "SageMaker.ResourceLimitExceededException", seconds=30)
GLUE_IS_BUSY = _busy("Glue.AWSGlueException", "Glue.ConcurrentRunsExceededException", seconds=30)
NOTIFYING_IS_BUSY = _busy("States.TaskFailed", seconds=2)


def stage_failed(seconds: int) -> Retry:
    """Retry a stage that ended with an internal error; one that rejected its input would reject it again."""
    return {"ErrorEquals": [FAILED], "IntervalSeconds": seconds, "MaxAttempts": 2, **_SPREAD}
