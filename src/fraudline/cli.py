"""The ``fraudline`` command: every image's entrypoint, and the way in on a laptop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from fraudline import __version__
from fraudline.catalog.errors import InputError
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints import aws_lambda, log, realtime
from fraudline.entrypoints.run import INPUT_IS_WRONG, Parser, run
from fraudline.orchestration.local import commands

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stage or a command; returns the exit code."""
    log.set_up()
    signal.signal(signal.SIGTERM, _stop)  # the kernel spares a container's first process without a handler
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in STAGES:
        return run(STAGES[given[0]], given[1:])
    try:
        options = _parser().parse_args(given)
        return int(options.command(options))
    except InputError as error:
        _log.error("%s", error)  # a user's error has no stack to show
        return INPUT_IS_WRONG


def _parser() -> argparse.ArgumentParser:
    parser = Parser("fraudline", description="Fraud detection for card transactions.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for stage in STAGES.values():
        subparsers.add_parser(stage.name, help=f"{stage.description} (image {stage.image})", add_help=False)
    handlers = {name: f"{aws_lambda.__name__}.{name}" for name, stage in STAGES.items() if stage.platform != "hosting"}
    handlers |= {name: f"{realtime.__name__}.{handler.__name__}" for name, handler in realtime.FUNCTIONS.items()}
    function = subparsers.add_parser("lambda", help="Answer events as a Lambda function, of a stage or in real time.")
    function.add_argument("name", choices=handlers)
    function.set_defaults(command=lambda options: aws_lambda.serve(handlers[options.name]))
    commands.add(subparsers)
    return parser


def _stop(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)
