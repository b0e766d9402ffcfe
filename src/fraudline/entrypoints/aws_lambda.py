"""Runs a stage as a Lambda function of its image: one invocation is one run, as a Processing job is.

An event names what a job's arguments name, every place an s3:// prefix or another that needs no folder::

    {"arguments": {"as_of": "2026-05-31"}, "inputs": {"raw": "s3://…"}, "outputs": {"transactions": "s3://…", …}}

The answer says what came of it, never the rows themselves::

    {"stage": "etl", "exit_code": 0, "message": "", "summary": "s3://…/summary.json", "counts": {"record_count": 9}}

A failure has one of two names that state machines know: InputRejected, which to try again can't mend, or StageFailed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.stage import SUMMARY, SUMMARY_FILE, Stage
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import log, opt_ml
from fraudline.entrypoints.run import INPUT_IS_WRONG, OURS, attempt

RUNTIME_VARIABLE = "AWS_LAMBDA_RUNTIME_API"
_EVENT = {"arguments", "inputs", "outputs"}

Answer = dict[str, Any]


class InputRejected(Exception):  # noqa: N818 - the name is what a state machine reads
    """The input or a parameter is wrong, as exit code 2 says elsewhere."""


class StageFailed(Exception):  # noqa: N818
    """A fault of ours, as exit code 1 says elsewhere."""


def serve(handler: str) -> int:
    """Answer the events of a function until Lambda ends it.

    Args:
        handler: what answers one, as module.name.

    Raises:
        InputError: this is no Lambda function.
    """
    from awslambdaric.__main__ import main  # noqa: PLC0415 - only a function needs it

    if RUNTIME_VARIABLE not in os.environ:
        raise InputError(f"{RUNTIME_VARIABLE} is not set: start the image as a Lambda function, or by AWS's emulator")
    main(["", handler])
    return 0


def __getattr__(name: str) -> Callable[[Mapping[str, Any], Any], Answer]:
    """The handler of each stage, under its name, as the runtime interface looks for one."""
    if name not in STAGES:
        raise AttributeError(f"no stage '{name}'")
    return partial(handle, STAGES[name])


def handle(stage: Stage, event: Mapping[str, Any], _context: object = None) -> Answer:
    """Run a stage as an event says.

    Raises:
        InputRejected: the event, the input or a parameter is wrong; the text is the stage's own.
        StageFailed: a fault of ours.
    """
    log.set_up()  # the runtime interface has its own way of logging
    with tempfile.TemporaryDirectory(prefix="ml-") as root:  # below /tmp, the one place that may be written
        os.environ[opt_ml.ROOT_VARIABLE] = root
        try:
            ended = attempt(stage, lambda: _given(event))
        finally:
            del os.environ[opt_ml.ROOT_VARIABLE]
    if ended.code in (INPUT_IS_WRONG, OURS):
        raise (InputRejected if ended.code == INPUT_IS_WRONG else StageFailed)(ended.words)
    return {
        "stage": stage.name,
        "exit_code": ended.code,
        "message": ended.words,
        "summary": f"{ended.outputs[SUMMARY].rstrip('/')}/{SUMMARY_FILE}" if SUMMARY in ended.outputs else None,
        "counts": {name: value for name, value in ended.summary.items() if type(value) in (int, float)},
    }


def _given(event: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(event, Mapping) or not set(event) <= _EVENT:
        named = ", ".join(event) if isinstance(event, Mapping) else type(event).__name__
        raise InputError(f"the event must be an object of {', '.join(sorted(_EVENT))}, got {named}")
    if wrong := [name for name in event if not isinstance(event[name], Mapping)]:
        raise InputError(f"the event's {', '.join(wrong)} must be an object of texts by name")
    places = {"input": event.get("inputs", {}), "output": event.get("outputs", {})}
    return {**event.get("arguments", {}), **{kind: list(named.items()) for kind, named in places.items()}}
