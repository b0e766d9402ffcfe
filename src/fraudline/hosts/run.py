"""Runs one stage under any host: arguments in, exit code and last words out."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import time
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from fraudline.errors import InputError, TemporaryError
from fraudline.hosts import faults, log, metrics, opt_ml, parameters
from fraudline.stage import REQUIRED, SUMMARY, Channel, Parameter, Stage, Summary

_log = logging.getLogger(__name__)

DONE, OURS, INPUT_IS_WRONG = 0, 1, 2


def run(stage: Stage, arguments: Sequence[str]) -> int:
    """Run a stage and say how it ended.

    Exit code 0: done; 2: the input or a parameter is wrong; 1: the same again may do, or it is a fault of ours;
    another: the stage's own verdict.
    """
    started = time.monotonic()
    # Idle threads of a forest sleep rather than spin: on a busy machine spinning made training three times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        summary = _run(stage, parser(stage).parse_args(arguments))
    except InputError as error:
        _log.error("%s", error)  # a user's error has no stack to show
        opt_ml.leave_message(stage, str(error), failed=True)
        return INPUT_IS_WRONG
    except TemporaryError as error:
        _log.error("%s", error)
        opt_ml.leave_message(stage, str(error), failed=True)
        return OURS
    except Exception as error:
        _log.exception("%s failed", stage.name)
        opt_ml.leave_message(stage, f"{log.described(error)}; the log has the stack", failed=True)
        return OURS
    opt_ml.leave_message(stage, str(summary.get("exit_message", "")), failed=False)
    _log.info("%s finished", stage.name, extra={"fields": _measured(stage, summary, started)})
    return int(summary.get("exit_code", DONE))


def _run(stage: Stage, options: argparse.Namespace) -> Summary:
    from fraudline.channel import Channels  # noqa: PLC0415 - polars takes longer than --help may

    outputs: dict[str, str] = {}
    try:
        given = {name: value for name, value in vars(options).items() if value is not None}
        opt_ml.check(stage)
        inputs = opt_ml.inputs(stage) | _places("--input", given, stage.reads)
        outputs = opt_ml.outputs(stage) | _places("--output", given, (*stage.writes, Channel(SUMMARY, "")))
        values = parameters.parse(stage, opt_ml.hyperparameters(stage) | given)
        with Channels(stage, inputs, outputs, opt_ml.checkpoints(stage)) as channels:
            summary = stage.run(channels, **values)
            channels.commit(summary, replace=values.get("replace", False))
    except Exception as error:
        if explanation := faults.explain(error, outputs):
            raise explanation from error
        raise
    return summary


def _places(option: str, given: dict[str, Any], channels: Sequence[Channel]) -> dict[str, str]:
    known = [channel.name for channel in channels]
    places: dict[str, str] = dict(given.pop(option.removeprefix("--"), []))
    for name in places:
        if name not in known:
            raise InputError(f"{option} {name}=…: there is no such channel; there are {', '.join(sorted(known))}")
    return places


def _measured(stage: Stage, summary: Summary, started: float) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "event": "finished",
        "stage": stage.name,
        "rows": summary.get("record_count"),
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": usage.ru_maxrss // 1024,
        **metrics.embedded(stage, summary),
    }


class Parser(argparse.ArgumentParser):
    """Tells a wrong argument as every other wrong input is told."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of leaving."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")


def parser(stage: Stage) -> argparse.ArgumentParser:
    """A stage's own command line."""
    parser = Parser(f"fraudline {stage.name}", description=stage.says, allow_abbrev=False)
    optional = {channel.name for channel in stage.reads if not channel.required}
    parser.epilog = f"Reads {_listed(stage.reads, optional)}. Writes {_listed(stage.writes)}."
    for flag, what in (("--input", "read"), ("--output", "written")):
        parser.add_argument(
            flag,
            action="append",
            type=_place,
            metavar="CHANNEL=PLACE",
            help=f"folder or s3:// prefix of a channel {what}",
        )
    for parameter in stage.parameters:
        unit = f" ({parameter.unit})" if parameter.unit else ""
        parser.add_argument(
            parameter.option,
            dest=parameter.name,
            metavar="VALUE",
            action="append" if parameter.many else "store",
            help=f"{parameter.says}{unit}{_default(parameter)}".replace("%", "%%"),
        )
    return parser


def _listed(channels: Sequence[Channel], optional: Collection[str] = ()) -> str:
    listed = [f"{channel.name}: {channel.says}{' (optional)' * (channel.name in optional)}" for channel in channels]
    return "; ".join(listed) or "nothing"


def _default(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return " [required]"
    return f" [{parameter.default_text}]" if parameter.default_text else ""


def _place(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not (name and place):
        raise argparse.ArgumentTypeError("expected CHANNEL=PLACE")
    return name, place
