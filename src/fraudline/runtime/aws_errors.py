"""The error codes of AWS services, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fraudline.catalog.errors import InputError, TemporaryError


class Cause(Enum):
    """What can make an error go away."""

    USER = "user"  # the user: permissions, names, quotas, credentials
    TIME = "time"  # a later attempt
    REQUEST = "request"  # another request: a command's arguments, or the fix of a defect in a stage


@dataclass(frozen=True)
class Remedy:
    """What to do about an error."""

    action: str
    cause: Cause = Cause.USER


AGAIN = "run it again in a minute"
_AGAIN = Remedy(AGAIN, Cause.TIME)
_GRANT = Remedy("grant the calling role this action (and iam:PassRole, where it passes a role on)")
_CREDENTIALS = Remedy("check the credentials and the region")
_RENEW = Remedy("renew the credentials")
_NETWORK = Remedy("check the network and the region, and run it again", Cause.TIME)

_CODES = {
    "AccessDenied": _GRANT,
    "AccessDeniedException": _GRANT,
    "AuthorizationError": _GRANT,  # SNS
    "403": _GRANT,  # S3, which answers HEAD requests without a code
    "KMSAccessDenied": _GRANT,
    "KMSAccessDeniedException": _GRANT,
    "NoSuchBucket": Remedy("check the bucket's name and region"),
    "ResourceNotFoundException": Remedy(
        "check the table's name and region, or create it with the string 'key' as its partition key"
    ),
    "ResourceNotFound": Remedy("check the name and the region; to create a pipeline: python pipeline.py upsert"),
    "NotFound": Remedy("check the topic's ARN and region"),  # SNS
    "StateMachineDoesNotExist": Remedy("check the state machine's ARN and region"),
    "InvalidArn": Remedy("check the ARN"),
    # SNS
    "InvalidParameter": Remedy("check the topic's ARN, and that its kind (FIFO or standard) is the one its name says"),
    "ResourceLimitExceeded": Remedy("raise that quota in Service Quotas, or delete what uses it"),
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "ConflictException": Remedy("wait until the change in progress has ended, and run it again", Cause.TIME),
    "ExecutionLimitExceeded": _AGAIN,
    "KMSThrottling": _AGAIN,
    "KMSThrottlingException": _AGAIN,
    "ModelNotReadyException": _AGAIN,
    "ProvisionedThroughputExceededException": _AGAIN,
    "RequestLimitExceeded": _AGAIN,
    "RequestThrottled": _AGAIN,
    "RequestThrottledException": _AGAIN,
    "RequestTimeout": _AGAIN,
    "RequestTimeoutException": _AGAIN,
    "SlowDown": _AGAIN,
    "Throttled": _AGAIN,
    "ThrottledException": _AGAIN,
    "Throttling": _AGAIN,
    "ThrottlingException": _AGAIN,
    "TooManyRequestsException": _AGAIN,
    "ValidationException": Remedy("fix what it names; python pipeline.py definition shows the request", Cause.REQUEST),
}
# Errors of boto3 without an answer from AWS, by class name, because stages over folders never import botocore.
_CLASSES = {
    "NoCredentialsError": Remedy(
        "sign in, set AWS_PROFILE, or give the job a role, and a network: isolated jobs get none"
    ),
    "NoRegionError": Remedy("set AWS_REGION"),
    "ConnectTimeoutError": _NETWORK,
    "ConnectionClosedError": _NETWORK,
    "EndpointConnectionError": _NETWORK,
    "ReadTimeoutError": _NETWORK,
    "HTTPClientError": _NETWORK,
    "ProxyConnectionError": _NETWORK,
    "SSLError": _NETWORK,
    "InvalidRegionError": Remedy("set AWS_REGION to a region's name, such as eu-west-1"),
    "PartialCredentialsError": _CREDENTIALS,
    "CredentialRetrievalError": _RENEW,
    "SSOTokenLoadError": _RENEW,
    "TokenRetrievalError": _RENEW,
    "UnauthorizedSSOTokenError": _RENEW,
    "ProfileNotFound": Remedy("set AWS_PROFILE to a profile that aws configure list-profiles shows"),
    "S3UploadFailedError": Remedy("grant the calling identity s3:PutObject on that bucket"),
}


def code(error: Exception) -> str:
    """Return the error code that a service answered, or an empty string if it did not answer."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def message(error: Exception) -> str:
    """Return the error message that a service answered."""
    return str(_response(error).get("Error", {}).get("Message", ""))


def remedy(error: Exception) -> Remedy | None:
    """Return what to do about an error of boto3, or None for an error that is not in the tables."""
    if listed := _CODES.get(code(error)) or _CLASSES.get(type(error).__name__):
        return listed
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return _AGAIN if status == 429 or status >= 500 else None


def is_temporary(error: Exception) -> bool:
    """Return True if another attempt may succeed."""
    advice = remedy(error)
    return advice is not None and advice.cause is Cause.TIME


def is_missing(error: Exception) -> bool:
    """Return True if SageMaker was asked for something that does not exist, which only its message says."""
    return code(error) == "ValidationException" and "Could not find" in message(error)


def explain(error: Exception) -> InputError | TemporaryError | None:
    """Return the error that a stage should end with instead, or None if the stage's own request is wrong.

    It leaves out the service's message, which may quote data from the request.
    """
    advice = remedy(error)
    if advice is None or advice.cause is Cause.REQUEST:
        return None
    kind = TemporaryError if advice.cause is Cause.TIME else InputError
    if answered := code(error):
        operation = getattr(error, "operation_name", "the request")
        return kind(f"AWS answered {operation} with {answered}; {advice.action}")
    return kind(f"AWS did not answer ({type(error).__name__}); {advice.action}")


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn AWS errors of a command into InputErrors that say what to do.

    Args:
        action: the action of the command, such as "start fraud-model-training".

    Raises:
        InputError: AWS refused, or could not be reached.
    """
    try:
        yield
    except Exception as error:
        advice, answered = remedy(error), code(error)
        if advice is None and not answered:
            raise
        problem = f"AWS answered {answered}: {message(error)}" if answered else str(error)
        todo = advice.action if advice else "look the code up in the service's API reference"
        raise InputError(f"{action}: {problem.rstrip('.')}; {todo}") from error


def _response(error: Exception) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}
