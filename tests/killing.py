"""Simulate a process that is killed between two AWS calls: the calls before take effect, and none follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient


class Killed(BaseException):
    """A BaseException, so that no error handler catches it."""


@contextmanager
def killed_after(calls: int) -> Iterator[list[str]]:
    """Answer this many AWS calls, then raise Killed; yields the operations that were called."""
    original = BaseClient._make_api_call
    operations: list[str] = []

    def call(self: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        if len(operations) >= calls:
            raise Killed
        operations.append(operation)
        return original(self, operation, request)

    with patch.object(BaseClient, "_make_api_call", call):
        yield operations
