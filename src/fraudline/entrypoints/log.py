"""Logs: one JSON object a line where a machine reads them, plain lines on a terminal.

The text of an error that nobody foresaw may quote a row, and so a customer. It is left out, of logs and of
last words, unless FRAUDLINE_LOG_VALUES is "true"; the stack, which says where, is always there.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

VALUES_VARIABLE = "FRAUDLINE_LOG_VALUES"


class _PlainFormatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(line for error in _chain(ei[1]) for line in (*_frames(error), described(error)))


class _JsonFormatter(_PlainFormatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def described(error: BaseException) -> str:
    """An unforeseen error in words that hold nobody's data."""
    if os.environ.get(VALUES_VARIABLE) == "true":
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__} (its text may quote rows; {VALUES_VARIABLE}=true shows it)"


def set_up() -> None:
    """Log to standard error, which leaves standard output to results."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(levelname)s %(message)s") if sys.stderr.isatty() else _JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("botocore", "boto3", "s3transfer", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error's causes, the first of them first."""
    if error is not None:
        yield from _chain(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
        yield error


def _frames(error: BaseException) -> list[str]:
    return [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
