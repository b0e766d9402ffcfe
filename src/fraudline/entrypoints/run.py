"""Runs one stage under any host: arguments in, exit code and last words out."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.plan import resolve
from fraudline.catalog.stage import REQUIRED, SUMMARY, Channel, Parameter, Stage, Summary
from fraudline.entrypoints import log, metrics, opt_ml, parameters
from fraudline.runtime import faults

if TYPE_CHECKING:
    from fraudline.runtime.channels import Channels

_log = logging.getLogger(__name__)

DONE, OURS, INPUT_IS_WRONG = 0, 1, 2


# The word before the last words of a stage that refuses its input, by which an orchestrator knows not to try again.
REFUSED = "InputRejected: "


@dataclass(frozen=True)
class Ended:
    """How a stage ended: its exit code and last words; where it was done its summary, and where its outputs are."""

    code: int
    words: str
    summary: Summary = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def run(stage: Stage, arguments: Sequence[str]) -> int:
    """Run a stage and say how it ended.

    Exit code 0: done; 2: the input or a parameter is wrong; 1: the same again may do, or it is a fault of ours;
    another: the stage's own verdict.
    """
    ended = attempt(stage, lambda: vars(parser(stage).parse_args(arguments)))
    failed = ended.code in (OURS, INPUT_IS_WRONG)
    opt_ml.leave_message(stage, REFUSED * (ended.code == INPUT_IS_WRONG) + ended.words, failed=failed)
    return ended.code


def attempt(stage: Stage, given: Callable[[], Mapping[str, Any]]) -> Ended:
    """Run a stage to its end, whatever that is; errors are logged, and told in words that hold nobody's data.

    Args:
        stage: what to run.
        given: its parameters' texts by name, and ``input`` and ``output``, pairs of a channel and a place.
    """
    started = time.monotonic()
    # Idle threads of a forest sleep rather than spin: on a busy machine spinning made training three times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        summary, outputs = _run(stage, given())
    except InputError as error:
        _log.error("%s", error)  # a user's error has no stack to show
        return Ended(INPUT_IS_WRONG, str(error))
    except TemporaryError as error:
        _log.error("%s", error)
        return Ended(OURS, str(error))
    except Exception as error:
        _log.exception("%s failed", stage.name)
        return Ended(OURS, f"{log.described(error)}; the log has the stack")
    _log.info("%s finished", stage.name, extra={"fields": _measured(stage, summary, started)})
    return Ended(int(summary.get("exit_code", DONE)), str(summary.get("exit_message", "")), summary, outputs)


def call(stage: Stage, channels: Channels, values: Mapping[str, Any]) -> Summary:
    """Import the stage's module, and only that, and run it."""
    module = import_module(f"fraudline.{stage.image}.{stage.name.replace('-', '_')}")
    run, own = parameters.split_run(values, opt_ml.job(stage))
    summary: Summary = module.run(channels, *run, **own)
    return summary


def _run(stage: Stage, options: Mapping[str, Any]) -> tuple[Summary, dict[str, str]]:
    from fraudline.runtime.channels import Channels  # noqa: PLC0415 - polars takes longer than --help may

    outputs: dict[str, str] = {}
    try:
        given = {name: value for name, value in options.items() if value is not None}
        opt_ml.check(stage)
        inputs = opt_ml.inputs(stage) | _places("--input", given, stage.reads)
        outputs = opt_ml.outputs(stage) | _places("--output", given, (*stage.writes, Channel(SUMMARY, "")))
        values = parameters.parse(stage, opt_ml.hyperparameters(stage) | given)
        if as_of := values.get("as_of"):
            inputs, outputs = ({name: resolve(places[name], as_of) for name in places} for places in (inputs, outputs))
        with Channels(stage, inputs, outputs, opt_ml.checkpoints(stage)) as channels:
            summary = call(stage, channels, values)
            channels.commit(summary, replace=values.get("replace", False))
    except Exception as error:
        if explanation := faults.explain(error, outputs):
            raise explanation from error
        raise
    return summary, outputs


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
    parser = Parser(f"fraudline {stage.name}", description=stage.description, allow_abbrev=False)
    optional = {channel.name for channel in stage.reads if not channel.required}
    parser.epilog = f"Reads {_listed(stage.reads, optional)}. Writes {_listed(stage.writes)}."
    for flag, what in (("--input", "read"), ("--output", "written")):
        parser.add_argument(
            flag,
            action="append",
            type=_place,
            metavar="CHANNEL=PLACE",
            help=f"folder or s3:// prefix of a channel {what}, {{as_of}}, {{day}} and {{contract}} filled in",
        )
    for parameter in stage.parameters:
        unit = f" ({parameter.unit})" if parameter.unit else ""
        parser.add_argument(
            parameter.option,
            dest=parameter.name,
            metavar="VALUE",
            action="append" if parameter.many else "store",
            help=f"{parameter.description}{unit}{_default(parameter)}".replace("%", "%%"),
        )
    return parser


def _listed(channels: Sequence[Channel], optional: Collection[str] = ()) -> str:
    return "; ".join(_described(channel, optional=channel.name in optional) for channel in channels) or "nothing"


def _described(channel: Channel, *, optional: bool) -> str:
    text = f"{channel.name}: {channel.description}"
    return f"{text} (optional)" if optional else text


def _default(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return " [required]"
    return f" [{parameter.default_text}]" if parameter.default_text else ""


def _place(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not (name and place):
        raise argparse.ArgumentTypeError("expected CHANNEL=PLACE")
    return name, place
