"""Explain errors that stages do not handle: full disks, missing permissions, wrong buckets, busy services."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

from fraudline.catalog.errors import InputError, TemporaryError

_PERMISSION = "give the stage's user access, or run it as another user"
_REMEDIES = {
    errno.ENOSPC: "give the job a larger volume",
    errno.EDQUOT: "raise the quota, or write elsewhere",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOTDIR: "name a folder",
    errno.EROFS: "mount it writable, or write elsewhere",
}


def explain(error: Exception, outputs: Mapping[str, str]) -> InputError | TemporaryError | None:
    """Return the error to report instead, or None if the code has a defect.

    Args:
        error: the error that a stage raised.
        outputs: the locations that the stage writes, by channel.
    """
    number = _number(error)
    if number not in _REMEDIES:
        from fraudline.runtime import aws_errors  # noqa: PLC0415 - a stage that ends well needs no table of errors

        return aws_errors.explain(error)
    subject = getattr(error, "filename", None)
    if not subject:
        subject = "outputs " + ", ".join(f"{name} '{location}'" for name, location in outputs.items())
    return InputError(f"{subject}: {os.strerror(number)}; {_REMEDIES[number]}")


def _number(error: Exception) -> int | None:
    """Return an error's errno; polars has it only in the message."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None
