"""What a user can mend although no stage saw it coming: full disks, closed doors, wrong buckets."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

_SYSTEM = {
    errno.ENOSPC: "give the job a larger volume",
    errno.EDQUOT: "raise the quota, or write elsewhere",
    errno.EACCES: "let the stage's user in, or run it as another",
    errno.EPERM: "let the stage's user in, or run it as another",
    errno.ENOTDIR: "name a folder",
    errno.EROFS: "mount it writable, or write elsewhere",
}
_SERVICE = {
    "AccessDenied": "grant the stage's role what it was refused",
    "403": "grant the stage's role what it was refused",
    "AccessDeniedException": "grant the stage's role what it was refused",
    "NoSuchBucket": "check the bucket's name and region",
    "ResourceNotFoundException": "check the table's name and region, or create it with the text key 'key'",
    "InvalidAccessKeyId": "check the credentials",
    "ExpiredToken": "renew the credentials",
}


def explain(error: Exception, outputs: Mapping[str, str]) -> str | None:
    """What went wrong and what to do, or None where only we can mend it.

    Args:
        error: whatever a stage raised.
        outputs: the places that it writes, by channel.
    """
    number = _number(error)
    if number in _SYSTEM:
        named = getattr(error, "filename", None)
        places = ", ".join(f"{name} '{place}'" for name, place in outputs.items())
        return f"{named or 'outputs ' + places}: {os.strerror(number)}; {_SYSTEM[number]}"
    if type(error).__name__ == "NoCredentialsError":
        return "AWS: there are no AWS credentials; give the job a role, or set them in the environment"
    answer = getattr(error, "response", None)
    code = str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""
    if code in _SERVICE:
        return f"AWS: {getattr(error, 'operation_name', 'the request')} was answered {code}; {_SERVICE[code]}"
    return None


def _number(error: Exception) -> int | None:
    """The system's number of an error; polars has it in its text only."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
