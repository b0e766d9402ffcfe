"""What no stage saw coming and can be told in a sentence: what a user can mend (full disks, closed doors, wrong
buckets), and what may be gone at the next attempt (a busy service, an hour without capacity)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

from fraudline.catalog.errors import InputError, TemporaryError

_SYSTEM = {
    errno.ENOSPC: "give the job a larger volume",
    errno.EDQUOT: "raise the quota, or write elsewhere",
    errno.EACCES: "let the stage's user in, or run it as another",
    errno.EPERM: "let the stage's user in, or run it as another",
    errno.ENOTDIR: "name a folder",
    errno.EROFS: "mount it writable, or write elsewhere",
}
_GRANT = "grant the stage's role what it was refused"
_SERVICE = {
    "AccessDenied": _GRANT,
    "403": _GRANT,
    "AccessDeniedException": _GRANT,
    "AuthorizationError": _GRANT,  # SNS
    "KMSAccessDenied": _GRANT,
    "KMSAccessDeniedException": _GRANT,
    "NoSuchBucket": "check the bucket's name and region",
    "ResourceNotFoundException": "check the table's name and region, or create it with the text key 'key'",
    "NotFound": "check the topic's ARN and region",
    "StateMachineDoesNotExist": "check the state machine's ARN and region",
    "InvalidArn": "check the ARN",
    "InvalidParameter": "check the topic's ARN, and that its kind (FIFO or standard) is the one its name says",
    "ResourceLimitExceeded": "ask AWS for a higher quota, or delete what is not used",
    "InvalidAccessKeyId": "check the credentials",
    "ExpiredToken": "renew the credentials",
}
# What a later attempt may find gone, beside every answer of 500 and above.
_BUSY = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "Throttled",
    "KMSThrottling",
    "KMSThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ProvisionedThroughputExceededException",
    "SlowDown",
    "ExecutionLimitExceeded",
    "ModelNotReadyException",
    "RequestTimeout",
    "RequestTimeoutException",
}
_UNREACHED = {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"}


def explain(error: Exception, outputs: Mapping[str, str]) -> InputError | TemporaryError | None:
    """The error to tell instead: what went wrong and what to do, or None where only we can mend it.

    Args:
        error: whatever a stage raised.
        outputs: the places that it writes, by channel.
    """
    number = _number(error)
    if number in _SYSTEM:
        named = getattr(error, "filename", None)
        places = ", ".join(f"{name} '{place}'" for name, place in outputs.items())
        return InputError(f"{named or 'outputs ' + places}: {os.strerror(number)}; {_SYSTEM[number]}")
    if type(error).__name__ == "NoCredentialsError":
        return InputError("AWS: there are no AWS credentials; give the job a role, or set them in the environment")
    if type(error).__name__ in _UNREACHED:
        return TemporaryError(f"AWS: the service did not answer ({type(error).__name__}); run the stage again")
    return _answered(error)


def _answered(error: Exception) -> InputError | TemporaryError | None:
    """An answer of AWS's that is no success."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return None
    code = str(answer.get("Error", {}).get("Code", ""))
    said = f"AWS: {getattr(error, 'operation_name', 'the request')} was answered {code}"
    if code in _SERVICE:
        return InputError(f"{said}; {_SERVICE[code]}")
    if code in _BUSY or answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return TemporaryError(f"{said}; run the stage again")
    return None


def _number(error: Exception) -> int | None:
    """The system's number of an error; polars has it in its text only."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
