"""The command ``fraudline aws``, which operates a deployed stack over the AWS API."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudline.catalog import parsing
from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.parsing import argument
from fraudline.catalog.plan import plan
from fraudline.catalog.settings import by_name
from fraudline.entrypoints.run import Parser
from fraudline.runtime.aws_errors import explained

if TYPE_CHECKING:
    from fraudline.orchestration.operations.executions import Request
    from fraudline.orchestration.operations.stack import Stack

# Functions import what needs boto3 themselves, so that --help does not wait for it.

DESCRIPTION = "Operate the stack on AWS: status, rerun, retrain, backfill, rollback, redrive."


def parser() -> argparse.ArgumentParser:
    """Return the command line of ``fraudline aws``."""
    root = Parser("fraudline aws", description=DESCRIPTION)
    subparsers = root.add_subparsers(required=True, title="commands", metavar="COMMAND", prog="fraudline aws")
    _command(subparsers, "status", _status, "Show executions, the champion, dead letters and alarms.")
    rerun = _command(subparsers, "rerun", _rerun, "Score a day again, or for the first time, and replace its outputs.")
    _add_day(rerun, "--as-of", "score the day before this one", required=True)
    _add_day(rerun, "--until", "then run as of each following day up to this one, each after the other [--as-of]")
    _add_execution(rerun)
    retrain = _command(subparsers, "retrain", _retrain, "Train a model; the gate decides whether it is deployed.")
    _add_day(retrain, "--as-of", "train on what was visible before this day", required=True)
    _add_execution(retrain)
    backfill = _command(subparsers, "backfill", _backfill, "Rebuild the history before a day from raw data.")
    _add_day(backfill, "--as-of", "the history before this day", required=True)
    _add_execution(backfill)
    rollback = _command(subparsers, "rollback", _rollback, "Make an earlier model the champion again.")
    rollback.add_argument("--to", metavar="VERSION", help="such as v2026-05-17 [the last one before the champion]")
    _add_execution(rollback)
    redrive = _command(subparsers, "redrive", _redrive, "Move the messages of failed schedules back to their queues.")
    _add_waiting(redrive)
    return root


def _command(
    subparsers: Any, name: str, function: Callable[[argparse.Namespace], int], description: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = subparsers.add_parser(name, help=description, description=description)
    command.add_argument("--settings", dest="file", type=Path, metavar="FILE", help="settings file [./fraudline.toml]")
    command.add_argument("--name", help="prefix of every name in the stack [the settings file's, else fraud]")
    command.set_defaults(command=function, operation=name)
    return command


def _add_day(command: argparse.ArgumentParser, option: str, description: str, **options: Any) -> None:
    command.add_argument(option, type=argument(parsing.day), metavar="DATE", help=description, **options)


def _add_execution(command: argparse.ArgumentParser) -> None:
    parsing.add_settings(command, "a setting of a stage, for this execution only; replaces the stack's")
    _add_waiting(command)


def _add_waiting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="wait for the end; exit code 1 if it failed")
    command.add_argument("--dry-run", action="store_true", help="show what would be started, and start nothing")


@contextmanager
def _stack(options: argparse.Namespace) -> Iterator[Stack]:
    """Find the stack, and explain the AWS errors of what is done with it."""
    from fraudline.orchestration.operations import stack  # noqa: PLC0415

    with explained(f"fraudline aws {options.operation}"):
        yield stack.find(options.file, options.name)


def _status(options: argparse.Namespace) -> int:
    from fraudline.orchestration.operations import status  # noqa: PLC0415

    with _stack(options) as stack:
        for line in status.lines(stack):
            print(line)
    return ExitCode.OK


def _rerun(options: argparse.Namespace) -> int:
    days = range(((options.until or options.as_of) - options.as_of).days + 1)
    if not days:
        raise InputError(f"--until {options.until} lies before --as-of {options.as_of}")
    # STANDARD also where the schedule runs EXPRESS: it has no time limit, and keeps its history.
    return _execute(options, "daily", "daily_standard", [options.as_of + timedelta(days=day) for day in days])


def _retrain(options: argparse.Namespace) -> int:
    return _execute(options, "training", "training", [options.as_of])


def _backfill(options: argparse.Namespace) -> int:
    return _execute(options, "backfill", "backfill", [options.as_of])


def _rollback(options: argparse.Namespace) -> int:
    from fraudline.orchestration.operations import models  # noqa: PLC0415

    settings = _settings("deployment", options)
    with _stack(options) as stack:
        as_of = models.to_restore(stack.output("Root"), options.to)
        return _run(stack, "deployment", "rollback", [as_of], settings, options)


def _execute(options: argparse.Namespace, workflow: str, state_machine: str, days: list[date]) -> int:
    settings = {"replace": "true"} | _settings(workflow, options)
    with _stack(options) as stack:
        return _run(stack, workflow, state_machine, days, settings, options)


def _settings(workflow: str, options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of the command line by name; refuse one that no stage of the workflow has, or whose value."""
    parameters = {name: parameter for job in plan(workflow) for name, parameter in job.settings.items()}
    for name, text in options.settings:
        if name not in parameters:
            raise InputError(f"--set {name}: no stage of {workflow} has it; they have {', '.join(sorted(parameters))}")
        try:
            parameters[name].type(text)
        except ValueError as error:
            raise InputError(f"--set {name}: {error}, got '{text}'") from error
    return by_name(options.settings)


def _run(
    stack: Stack,
    workflow: str,
    state_machine: str,
    days: list[date],
    settings: dict[str, str],
    options: argparse.Namespace,
) -> int:
    """Start an execution as of each day; a day needs the history that the day before it publishes."""
    from fraudline.orchestration.operations.executions import Request  # noqa: PLC0415

    arn = stack.state_machine(state_machine)
    requests = [Request(arn, workflow, day, settings) for day in days]
    for request in requests:
        if options.dry_run:
            print(f"would start {arn} with {request.content}")
        elif not _start(request, wait=options.wait or request is not requests[-1]):
            return ExitCode.INTERNAL_ERROR
    return ExitCode.OK


def _start(request: Request, *, wait: bool) -> bool:
    """Start an execution; return False if it was waited for and failed."""
    from fraudline.orchestration.operations import executions  # noqa: PLC0415

    execution = executions.start(request)
    print(f"started {execution}", flush=True)
    return not wait or executions.wait(execution, print)


def _redrive(options: argparse.Namespace) -> int:
    from fraudline.orchestration.operations import dead_letters  # noqa: PLC0415

    with _stack(options) as stack:
        queue = stack.output(dead_letters.SCHEDULE)
        waiting = dead_letters.count(queue)
        if options.dry_run or not waiting:
            print(f"{waiting} messages in {dead_letters.SCHEDULE}" + (" would be moved" if waiting else ""))
            return ExitCode.OK
        dead_letters.move(queue)
        print(f"moving {waiting} messages of {dead_letters.SCHEDULE} back to their queues", flush=True)
        if options.wait and (reason := dead_letters.wait(queue)):
            raise InputError(
                f"{dead_letters.SCHEDULE}: {reason}; a message that reached no queue can't be moved: "
                "rerun its day with fraudline aws rerun, or train with fraudline aws retrain"
            )
    return ExitCode.OK
