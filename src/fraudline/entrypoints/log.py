"""Logs: plain lines for people, or one JSON object a line for jobs, as FRAUDLINE_LOG says.

The text of an unforeseen error may quote a row, and so a customer. It is left out of logs and messages unless
FRAUDLINE_LOG_VALUES is "true"; the stack, which shows where the error came from, is always logged.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Iterator
from typing import Any

from fraudline.catalog.environment import LOG, LOG_VALUES


class _PlainFormatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(line for error in _chain(ei[1]) for line in (*_frames(error), describe(error)))


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


def describe(error: BaseException) -> str:
    """Describe an unforeseen error without its text, unless the environment allows the text."""
    if LOG_VALUES.value() == "true":
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__} (its text may quote rows; {LOG_VALUES.name}=true shows it)"


def set_up(default: str = LOG.default) -> None:
    """Log to standard error, which leaves standard output to results.

    Args:
        default: the format where the environment names none; "json" where a service reads the lines.
    """
    form = os.environ.get(LOG.name) or default
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if form == "json" else _PlainFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("botocore", "boto3", "s3transfer", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error's causes, the first of them first, and the error itself."""
    if error is not None:
        yield from _chain(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
        yield error


def _frames(error: BaseException) -> list[str]:
    return [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
