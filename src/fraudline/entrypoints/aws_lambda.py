"""Run a stage as a Lambda function of its image: one invocation is one run, as a Processing job is.

An event holds what the arguments of a job hold; every location is an s3:// prefix or another that needs no folder::

    {"arguments": {"as_of": "2026-05-31"}, "inputs": {"raw": "s3://…"}, "outputs": {"transactions": "s3://…", …}}

The answer is a short report, never rows::

    {"stage": "etl", "exit_code": 0, "message": "", "summary": "s3://…/summary.json", "counts": {"record_count": 9}}

A failure has one of two names, by which state machines decide: InputRejected (do not retry) and StageFailed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from fraudline.catalog.environment import ML_ROOT
from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.stage import SUMMARY, SUMMARY_FILE, Stage
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import log
from fraudline.entrypoints.run import Outcome, attempt
from fraudline.runtime import aws

RUNTIME_VARIABLE = "AWS_LAMBDA_RUNTIME_API"
_EVENT = {"arguments", "inputs", "outputs"}

Answer = dict[str, Any]


class InputRejected(Exception):  # noqa: N818 - state machines match this name
    """The input or a parameter is wrong: ExitCode.INVALID_INPUT elsewhere."""


class StageFailed(Exception):  # noqa: N818
    """The stage failed, and another attempt may succeed: ExitCode.INTERNAL_ERROR elsewhere."""


@dataclass(frozen=True)
class Preparation:
    """What a function does before its first event.

    Lambda's init phase has 10 s; what is loaded later delays the first event
    (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html).

    Attributes:
        modules: the modules to import.
        services: the AWS services to create clients of.
    """

    modules: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def run(self) -> None:
        """Import the modules and create the clients."""
        for module in self.modules:
            import_module(module)
        for service in self.services:
            aws.client(service)


def serve(handler: str, preparation: Preparation = Preparation()) -> int:
    """Answer the events of a function until Lambda ends it.

    Args:
        handler: the function that answers one event, as module.name.
        preparation: what to load in the init phase, before the first event.

    Raises:
        InputError: this process is no Lambda function.
    """
    from awslambdaric.__main__ import main  # noqa: PLC0415 - only a function needs it

    if RUNTIME_VARIABLE not in os.environ:
        raise InputError(f"{RUNTIME_VARIABLE} is not set: start the image as a Lambda function, or with AWS's emulator")
    preparation.run()
    main(["", handler])
    return 0


def __getattr__(name: str) -> Callable[[Mapping[str, Any], Any], Answer]:
    """Return the handler of a stage by the stage's name, as Lambda's runtime interface looks it up."""
    if name not in STAGES:
        raise AttributeError(f"no stage '{name}'")
    return partial(handle, STAGES[name])


def handle(stage: Stage, event: Mapping[str, Any], _context: object = None) -> Answer:
    """Run a stage with the arguments of an event.

    Raises:
        InputRejected: the event, the input or a parameter is wrong; the text is the stage's own.
        StageFailed: the stage failed, and another attempt may succeed.
    """
    log.set_up("json")  # the runtime interface configures logging in its own way before
    with tempfile.TemporaryDirectory(prefix="ml-") as root:  # below /tmp, the only folder that can be written
        os.environ[ML_ROOT.name] = root
        try:
            outcome = attempt(stage, lambda: _options(event))
        finally:
            del os.environ[ML_ROOT.name]
    if outcome.code == ExitCode.INVALID_INPUT:
        raise InputRejected(outcome.message)
    if outcome.failed:
        raise StageFailed(outcome.message)
    return _answer(stage, outcome)


def _answer(stage: Stage, outcome: Outcome) -> Answer:
    summary = None
    if SUMMARY in outcome.outputs:
        summary = f"{outcome.outputs[SUMMARY].rstrip('/')}/{SUMMARY_FILE}"
    return {
        "stage": stage.name,
        "exit_code": outcome.code,
        "message": outcome.message,
        "summary": summary,
        "counts": {name: value for name, value in outcome.summary.items() if _is_number(value)},
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _options(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``attempt`` from an event."""
    if not isinstance(event, Mapping) or not set(event) <= _EVENT:
        content = ", ".join(event) if isinstance(event, Mapping) else type(event).__name__
        raise InputError(f"the event must be an object of {', '.join(sorted(_EVENT))}, got {content}")
    if wrong := [name for name in event if not isinstance(event[name], Mapping)]:
        raise InputError(f"the event's {', '.join(wrong)} must be an object of texts by name")
    locations = {"input": event.get("inputs", {}), "output": event.get("outputs", {})}
    return {**event.get("arguments", {}), **{option: list(uris.items()) for option, uris in locations.items()}}
