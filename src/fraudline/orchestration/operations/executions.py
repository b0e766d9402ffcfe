"""Executions of STANDARD state machines: start one, wait for it, list the last ones."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.runtime import aws

POLL_SECONDS = 10


@dataclass(frozen=True)
class Request:
    """An execution to be started.

    Attributes:
        state_machine: its ARN.
        workflow: the workflow that it runs.
        as_of: the day of the execution.
        settings: members of the execution's input, which replace the stack's settings.
    """

    state_machine: str
    workflow: str
    as_of: date
    settings: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """Return what the names of this day's executions begin with."""
        return f"{self.workflow}-{self.as_of}"

    @property
    def content(self) -> str:
        """Return the execution's input."""
        return json.dumps({"as_of": str(self.as_of), **self.settings})


def start(request: Request) -> str:
    """Start an execution and return its ARN.

    Raises:
        InputError: an execution of the same day is running; both would write to the same prefix.
    """
    if running := [it["executionArn"] for it in _running(request.state_machine) if _is_of_day(it["name"], request)]:
        raise InputError(
            f"{request.prefix} is running already; wait for it, or stop it first: "
            f"aws stepfunctions stop-execution --execution-arn {running[0]}"
        )
    # A name can't be used again for 90 days, and the schedule's own execution has the plain one.
    name = f"{request.prefix}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    started = aws.client("stepfunctions").start_execution(
        stateMachineArn=request.state_machine, name=name, input=request.content
    )
    return str(started["executionArn"])


def wait(execution: str, report: Callable[[str], None]) -> bool:
    """Wait until an execution has ended, and report how.

    Args:
        execution: its ARN.
        report: takes one line.

    Returns:
        True where it succeeded.
    """
    client = aws.client("stepfunctions")
    while (description := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    succeeded = bool(description["status"] == "SUCCEEDED")
    reason = "" if succeeded else f": {description.get('error', '')}: {_reason(description.get('cause', ''))}"
    report(f"{description['name']}: {description['status']}{reason}")
    return succeeded


def last(state_machine: str, count: int) -> list[dict[str, Any]]:
    """Return the last executions of a STANDARD state machine, the latest first."""
    answer = aws.client("stepfunctions").list_executions(stateMachineArn=state_machine, maxResults=count)
    listed: list[dict[str, Any]] = answer["executions"]
    return listed


def _running(state_machine: str) -> list[dict[str, Any]]:
    pages = aws.client("stepfunctions").get_paginator("list_executions")
    answers = pages.paginate(stateMachineArn=state_machine, statusFilter="RUNNING")
    return [execution for answer in answers for execution in answer["executions"]]


def _is_of_day(name: str, request: Request) -> bool:
    return name == request.prefix or name.startswith(f"{request.prefix}-")


def _reason(cause: str) -> str:
    """Return the stage's own message in the cause of a failure, which is otherwise the job's whole description."""
    try:
        description = json.loads(cause)
    except ValueError:
        return cause
    if not isinstance(description, dict):
        return cause
    messages = (description.get(name) for name in ("ExitMessage", "errorMessage", "FailureReason", "ErrorMessage"))
    return next((str(message) for message in messages if message), cause)
