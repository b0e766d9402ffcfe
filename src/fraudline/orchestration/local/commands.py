"""The commands of a laptop: run a workflow, show the whole thing, make data up."""

from __future__ import annotations

import argparse
import logging
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudline.catalog import parsing
from fraudline.catalog.errors import InputError
from fraudline.catalog.parsing import argument

if TYPE_CHECKING:
    from fraudline.catalog.workflow import Execution

_log = logging.getLogger(__name__)

SAMPLE = {"start": date(2026, 1, 1), "days": 150, "customers": 2500, "merchants": 1000, "seed": 7}


def add(subparsers: Any) -> None:
    """Add the commands to the command line."""
    run = subparsers.add_parser("run", help="Run a workflow on this machine.")
    run.add_argument("workflow", choices=("training", "daily", "deployment", "backfill"))
    run.add_argument(
        "--as-of", type=argument(parsing.day), required=True, help="UTC date; only rows before it are visible"
    )
    run.add_argument("--until", type=argument(parsing.day), help="go on day by day until as_of is this date [--as-of]")
    run.add_argument("--data", type=Path, required=True, help="folder with raw/ and labeled/")
    run.add_argument("--root", type=Path, default=Path("var/fraudline"), help="folder for all that is written")
    run.set_defaults(command=_run)
    demo = subparsers.add_parser("demo", help="Train on all days of some data but the last, and score the last.")
    demo.add_argument("--data", type=Path, help="folder with raw/ and labeled/ [made up in var/sample]")
    demo.set_defaults(command=_demo)
    for parser in (run, demo):
        parser.add_argument("--in", dest="carrier", choices=("process", "docker"), default="process")
        parser.add_argument("--registry", default="", help="prefix of the images' names, such as HOST/")
        parser.add_argument("--version", default="dev", help="tag of the images")
        parser.add_argument("--anew", action="store_true", help="run finished stages again too")
        parser.add_argument(
            "--set",
            dest="settings",
            type=argument(parsing.setting),
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a setting, for every stage that has it",
        )
    simulate = subparsers.add_parser("simulate", help="Make transactions and labels up.")
    simulate.add_argument("folder", type=Path, help="where raw/ and labeled/ are written")
    simulate.add_argument("--start", type=argument(parsing.day), default=SAMPLE["start"], help="first day")
    for name in ("days", "customers", "merchants", "seed"):
        simulate.add_argument(f"--{name}", type=int, default=SAMPLE[name], help=f"[{SAMPLE[name]}]")
    simulate.set_defaults(command=_simulate)


def _run(options: argparse.Namespace) -> int:
    from fraudline.catalog.workflow import Execution  # noqa: PLC0415 - as all here: an image has not what a laptop has

    until = options.until or options.as_of
    days = range((until - options.as_of).days + 1)
    if not days:
        raise InputError(f"--until {until} lies before --as-of {options.as_of}")
    return _execute([Execution(options.workflow, options.as_of + timedelta(days=day)) for day in days], options)


def _demo(options: argparse.Namespace) -> int:
    from fraudline.catalog.workflow import Execution  # noqa: PLC0415

    if options.data is None:
        options.data = Path("var/sample")
        if not options.data.exists():
            _simulate(argparse.Namespace(folder=options.data, **SAMPLE))
    options.root = Path("var/runs") / f"{options.data.resolve().name}-{options.carrier}"
    last = max((path.name for path in (options.data / "raw").glob("????-??-??")), default=None)
    if last is None:
        raise InputError(f"--data {options.data}: expected raw/YYYY-MM-DD/ and labeled/")
    day = date.fromisoformat(last)
    return _execute([Execution("training", day), Execution("daily", day + timedelta(days=1))], options)


def _execute(executions: list[Execution], options: argparse.Namespace) -> int:
    from fraudline.orchestration.local import launchers, runner, terminal  # noqa: PLC0415

    places = runner.Places(options.data, options.root)
    carrier = launchers.carrier(options.carrier, options.registry, options.version)
    shown = terminal.Terminal()
    for execution in executions:
        if len({step.workflow for step in executions}) == 1:
            runner.check(execution.workflow, options.settings)
        shown.begin(execution, options.carrier)
        try:
            summaries = runner.run(execution, places, carrier, options.settings, shown.observe, anew=options.anew)
        except launchers.StageError as error:
            _log.error("%s: %s", execution.id, error)
            return error.code
        finally:
            shown.stop()
        shown.end(summaries, places, execution)
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from fraudline.simulate import simulate  # noqa: PLC0415

    names = ("start", "days", "customers", "merchants", "seed")
    made = simulate(options.folder, **{name: getattr(options, name) for name in names})
    print(f"{made} in {options.folder}")
    return 0
