"""Read a job's arguments as AWS Glue's ``awsglue.utils`` does; only Glue's own image has that package.

It follows the published source: argparse with abbreviations; Glue's own options beside the requested ones, which are
all required; other arguments are ignored; hyphens in names become underscores in the result.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

_RESERVED = ("job-bookmark-from", "job-bookmark-to", "JOB_ID", "JOB_RUN_ID", "SECURITY_CONFIGURATION")
_CHOICES = {
    "job-bookmark-option": ["job-bookmark-enable", "job-bookmark-pause", "job-bookmark-disable"],
    "continuation-option": ["continuation-enabled", "continuation-readonly", "continuation-ignore"],
    "encryption-type": ["sse-s3"],
}


class GlueArgumentError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GlueArgumentError(message)


def getResolvedOptions(args: Sequence[str], options: Sequence[str]) -> dict[str, Any]:  # noqa: N802 - Glue's name
    parser = _Parser()
    for name in (*_RESERVED, *_CHOICES):
        if name in options:
            raise RuntimeError(f"Using reserved arguments --{name}")
        parser.add_argument(f"--{name}", choices=_CHOICES.get(name))
    folders = ("RedshiftTempDir", "TempDir")
    for name in folders:
        parser.add_argument(f"--{name}")
    for name in options:
        if name not in folders:
            parser.add_argument(f"--{name}", required=True)
    values = vars(parser.parse_known_args(args[1:])[0])
    values["TempDir"] = values["RedshiftTempDir"] = values["TempDir"] or values["RedshiftTempDir"]
    values.pop("continuation_option")
    values["job_bookmark_option"] = values["job_bookmark_option"] or "job-bookmark-disable"
    return values
