"""The errors after which Step Functions retries a task: only those that may not occur again."""

from __future__ import annotations

from typing import Any

from fraudline.entrypoints.aws_lambda import StageFailed

Retry = dict[str, Any]

FAILED = StageFailed.__name__

# Jitter, so that executions that failed together do not retry together.
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
# Errors that a service's API does not name, such as throttling, appear under the name of the service.
SAGEMAKER_IS_BUSY = _busy("SageMaker.AmazonSageMakerException", "SageMaker.ResourceLimitExceededException", seconds=30)
GLUE_IS_BUSY = _busy("Glue.AWSGlueException", "Glue.ConcurrentRunsExceededException", seconds=30)
STATES_IS_BUSY = _busy("StepFunctions.ThrottlingException", "StepFunctions.ExecutionLimitExceededException", seconds=2)
NOTIFYING_IS_BUSY = _busy("States.TaskFailed", seconds=2)


def stage_failed(seconds: int) -> Retry:
    """Return the retry after an internal error; a stage that rejected its input would only reject it again."""
    return {"ErrorEquals": [FAILED], "IntervalSeconds": seconds, "MaxAttempts": 2, **_SPREAD}
