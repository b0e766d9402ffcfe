"""Run one stage on any platform: arguments in, exit code and message out."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.parsing import argument, pair
from fraudline.catalog.stage import REQUIRED, SUMMARY, Channel, Parameter, Stage, Summary
from fraudline.catalog.templates import resolve
from fraudline.entrypoints import log, metrics, parameters
from fraudline.entrypoints.platforms import Platform, platform_of
from fraudline.runtime import faults

if TYPE_CHECKING:
    from fraudline.runtime.channels import Channels

_log = logging.getLogger(__name__)

# Precedes the message of a stage that rejects its input: orchestrators read it and do not run the stage again.
INPUT_REJECTED = "InputRejected: "


@dataclass(frozen=True)
class Outcome:
    """How a stage ended.

    Attributes:
        code: an ExitCode, or the stage's own.
        message: why, empty where there is nothing to say.
        summary: content of ``summary.json``, empty where the stage failed.
        outputs: location of each output, by channel; empty where the stage failed.
    """

    code: int
    message: str
    summary: Summary = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Return True where the stage did not finish."""
        return self.code in (ExitCode.INTERNAL_ERROR, ExitCode.INVALID_INPUT)


def run(stage: Stage, arguments: Sequence[str]) -> int:
    """Run a stage, leave its message where the platform looks for it, and return the exit code."""
    outcome = attempt(stage, lambda: vars(parser(stage).parse_args(arguments)))
    message = outcome.message
    if outcome.code == ExitCode.INVALID_INPUT:
        message = INPUT_REJECTED + message
    platform_of(stage).leave_message(message, failed=outcome.failed)
    return outcome.code


def attempt(stage: Stage, read_options: Callable[[], Mapping[str, Any]]) -> Outcome:
    """Run a stage; log its errors and report them in messages without a customer's data.

    Args:
        stage: the stage to run.
        read_options: returns the texts of parameters by name, and ``input`` and ``output``, pairs of a channel and its
            location; raises InputError where it can't.
    """
    started = time.monotonic()
    # Idle OpenMP threads sleep instead of spinning: on a busy instance spinning made training three times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        summary, outputs = _run(stage, read_options())
    except InputError as error:
        _log.error("%s", error)  # a user's error has no stack to show
        return Outcome(ExitCode.INVALID_INPUT, str(error))
    except TemporaryError as error:
        _log.error("%s", error)
        return Outcome(ExitCode.INTERNAL_ERROR, str(error))
    except Exception as error:
        _log.exception("%s failed", stage.name)
        return Outcome(ExitCode.INTERNAL_ERROR, f"{log.describe(error)}; the log has the stack")
    _log.info("%s finished", stage.name, extra={"fields": _measurements(stage, summary, started)})
    code = int(summary.get("exit_code", ExitCode.OK))
    return Outcome(code, str(summary.get("exit_message", "")), summary, outputs)


def call(stage: Stage, channels: Channels, values: Mapping[str, Any]) -> Summary:
    """Import the stage's module, and no other stage's, and run it."""
    module = import_module(f"fraudline.{stage.image}.{stage.name.replace('-', '_')}")
    run, own = parameters.split_run(values, platform_of(stage).job())
    summary: Summary = module.run(channels, *run, **own)
    return summary


def _run(stage: Stage, options: Mapping[str, Any]) -> tuple[Summary, Mapping[str, str]]:
    outputs: Mapping[str, str] = {}
    try:
        platform = platform_of(stage)
        platform.check_configuration()
        texts = {name: value for name, value in options.items() if value is not None}
        explicit_inputs = _locations("--input", texts.pop("input", ()), stage.reads)
        explicit_outputs = _locations("--output", texts.pop("output", ()), (*stage.writes, Channel(SUMMARY, "")))
        inputs, outputs = platform.inputs() | explicit_inputs, platform.outputs() | explicit_outputs
        values = parameters.parse(stage, platform.hyperparameters() | texts)
        if as_of := values.get("as_of"):
            inputs = {name: resolve(location, as_of) for name, location in inputs.items()}
            outputs = {name: resolve(location, as_of) for name, location in outputs.items()}
        uploads = {name: uri for name, uri in platform.uploads().items() if name not in explicit_outputs}
        return _run_over(stage, platform, inputs, outputs, uploads, values), outputs
    except Exception as error:
        if explanation := faults.explain(error, outputs):
            raise explanation from error
        raise


def _run_over(
    stage: Stage,
    platform: Platform,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    uploads: Mapping[str, str],
    values: Mapping[str, Any],
) -> Summary:
    from fraudline.runtime.channels import Channels  # noqa: PLC0415 - polars takes longer than --help may

    with Channels(stage, inputs, outputs, platform.checkpoints(), platform.root, uploads) as channels:
        summary = call(stage, channels, values)
        channels.commit(summary, replace=values.get("replace", False))
    return summary


def _locations(option: str, pairs: Sequence[tuple[str, str]], channels: Sequence[Channel]) -> dict[str, str]:
    locations = dict(pairs)
    names = [channel.name for channel in channels]
    for name in locations:
        if name not in names:
            raise InputError(f"{option} {name}=…: there is no such channel; there are {', '.join(sorted(names))}")
    return locations


def _measurements(stage: Stage, summary: Summary, started: float) -> dict[str, Any]:
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
    """A parser that raises InputError on wrong arguments, where argparse's own prints and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")


def parser(stage: Stage) -> argparse.ArgumentParser:
    """Return a stage's command line."""
    parser = Parser(
        f"fraudline {stage.name}",
        usage=f"fraudline {stage.name} [options]",
        description=stage.description,
        epilog=_channels_help(stage),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for option, verb in (("--input", "read"), ("--output", "write")):
        parser.add_argument(
            option,
            action="append",
            type=argument(lambda text: pair(text, "CHANNEL=URI")),
            metavar="CHANNEL=URI",
            help=f"{verb} a channel there, a folder or s3:// prefix; {{as_of}}, {{day}} and {{contract}} are filled in",
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


def _channels_help(stage: Stage) -> str:
    inputs = [f"  {it.name:<14}{it.description}{'' if it.required else ' (optional)'}" for it in stage.reads]
    outputs = [f"  {it.name:<14}{it.description}" for it in stage.writes]
    return "\n".join(["inputs:", *(inputs or ["  none"]), "", "outputs:", *(outputs or ["  none"])])


def _default(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return " [required]"
    return f" [{parameter.default_text}]" if parameter.default_text else ""
