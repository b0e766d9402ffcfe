"""A process that is killed between two calls of AWS: what was asked is done, and nothing is asked from then on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient


class Killed(BaseException):
    """Not to be caught by what handles errors."""


@contextmanager
def killed_after(calls: int) -> Iterator[list[str]]:
    """Let so many calls be answered; whoever makes one more is dead. Gives the operations that were asked."""
    original, asked = BaseClient._make_api_call, []

    def call(self: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if len(asked) >= calls:
            raise Killed
        asked.append(operation)
        return original(self, operation, request)

    with patch.object(BaseClient, "_make_api_call", call):
        yield asked
