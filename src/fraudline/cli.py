"""The ``fraudline`` command: the entrypoint of every image, and the command line on a computer."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from fraudline import __version__
from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.stage import Stage
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import aws_lambda, log, realtime
from fraudline.entrypoints.run import Parser, run

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stage or a command, and return its exit code."""
    log.set_up()
    # The kernel does not stop a container's first process by a signal that it has no handler for.
    signal.signal(signal.SIGTERM, _stop)
    with _quiet_on_closed_pipe():
        return _main(sys.argv[1:] if arguments is None else arguments)


def _main(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in STAGES:
        return run(STAGES[arguments[0]], arguments[1:])
    try:
        if arguments and arguments[0] == "aws":
            options = _operations().parse_args(arguments[1:])
        else:
            options = _parser().parse_args(arguments)
        return int(options.command(options))
    except InputError as error:
        _log.error("%s", error)  # a user's error has no stack to show
        return ExitCode.INVALID_INPUT


def _operations() -> argparse.ArgumentParser:
    from fraudline.orchestration.operations import commands  # noqa: PLC0415 - no other command needs it

    return commands.parser()


def _parser() -> argparse.ArgumentParser:
    from fraudline.orchestration.local import commands  # noqa: PLC0415 - a stage starts without them

    parser = Parser(
        "fraudline",
        usage="fraudline COMMAND [options]",
        description="Fraud detection for card transactions.",
        epilog=_stages_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, title="commands", metavar="COMMAND", prog="fraudline")
    commands.add(subparsers)
    subparsers.add_parser(
        "aws", add_help=False, help="Operate the stack on AWS; fraudline aws --help lists the commands."
    )
    for name in STAGES:
        subparsers.add_parser(name, add_help=False)  # listed by _stages_help
    handlers = {name: f"{aws_lambda.__name__}.{name}" for name, stage in STAGES.items() if stage.platform != "hosting"}
    handlers |= {name: f"{realtime.__name__}.{handler.__name__}" for name, handler in realtime.FUNCTIONS.items()}
    function = subparsers.add_parser("lambda", help="Answer the events of a Lambda function.")
    function.add_argument("name", choices=handlers, metavar="NAME", help=", ".join(handlers))
    function.set_defaults(
        command=lambda options: aws_lambda.serve(
            handlers[options.name], realtime.PREPARATIONS.get(options.name, aws_lambda.Preparation())
        )
    )
    return parser


def _stages_help() -> str:
    """Describe the stages, grouped by the first workflow that runs them."""
    from fraudline.catalog.workflow import WORKFLOWS  # noqa: PLC0415

    rest = dict(STAGES)
    groups = []
    for workflow in WORKFLOWS.values():
        steps = [rest.pop(step.stage.name) for step in workflow.steps if step.stage.name in rest]
        if steps:
            groups.append(_group_help(f"stages of the {workflow.name} workflow", steps))
    groups.append(_group_help("other stages", list(rest.values())))
    return "\n\n".join([*groups, "'fraudline COMMAND --help' shows the options of a command or a stage."])


def _group_help(heading: str, stages: Sequence[Stage]) -> str:
    return "\n".join([f"{heading}:", *(f"  {stage.name:<20}{stage.description}" for stage in stages)])


@contextmanager
def _quiet_on_closed_pipe() -> Iterator[None]:
    """End without a traceback if the reader of standard output, such as head, has stopped reading."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None


def _stop(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
