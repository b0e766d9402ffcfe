"""The commands that run on this computer: settings, workflows, the demo and simulated data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudline.catalog import parsing
from fraudline.catalog.errors import InputError
from fraudline.catalog.parsing import argument
from fraudline.catalog.workflow import WORKFLOWS, Execution

if TYPE_CHECKING:
    from fraudline.catalog.settings import Settings
    from fraudline.orchestration.local.runner import Folders
    from fraudline.orchestration.local.suggestions import Invocation

# Functions import what they need themselves: the images lack some of it, and `fraudline STAGE` must start fast.

SAMPLE = {"start": date(2026, 1, 1), "days": 150, "customers": 2500, "merchants": 1000, "seed": 7}
SAMPLE_FOLDER, DEMO_ROOTS = Path("var/sample"), Path("var/runs")


def add(subparsers: Any) -> None:
    """Add the commands to the command line."""
    _add_init(subparsers)
    _add_run(subparsers)
    _add_demo(subparsers)
    _add_simulate(subparsers)


def _add_init(subparsers: Any) -> None:
    init = _command(subparsers, "init", _init, "Write a settings file that lists every setting and its default.")
    init.add_argument("file", type=Path, nargs="?", default=Path("fraudline.toml"), help="[fraudline.toml]")
    init.add_argument("--force", action="store_true", help="overwrite the file")


def _add_run(subparsers: Any) -> None:
    run = _command(subparsers, "run", _run, "Run a workflow on this computer.")
    workflows = " ".join(f"{name}: {workflow.description}" for name, workflow in WORKFLOWS.items())
    run.add_argument("workflow", choices=tuple(WORKFLOWS), metavar="WORKFLOW", help=workflows)
    _add_day(run, "--as-of", "run as of this UTC date: only earlier rows are visible", required=True)
    _add_day(run, "--until", "then run as of each following day up to this one [--as-of]")
    run.add_argument("--data", metavar="FOLDER", help="holds raw/ and labeled/ [data in the settings file]")
    run.add_argument("--root", metavar="FOLDER", help="gets all outputs [root in the settings file, or var/fraudline]")
    _add_options(run)


def _add_demo(subparsers: Any) -> None:
    demo = _command(
        subparsers, "demo", _demo, "Train as of the last day of some data, then score that day, on this computer."
    )
    demo.add_argument(
        "--data", metavar="FOLDER", help=f"holds raw/ and labeled/ [the settings file's, or simulated: {SAMPLE_FOLDER}]"
    )
    _add_options(demo)


def _add_simulate(subparsers: Any) -> None:
    simulate = _command(subparsers, "simulate", _simulate, "Write simulated transactions and fraud labels.")
    simulate.add_argument("folder", type=Path, metavar="FOLDER", help="gets raw/ and labeled/")
    _add_day(simulate, "--start", f"first day [{SAMPLE['start']}]", default=SAMPLE["start"])
    numbers = {"days": "days to simulate", "customers": "customers", "merchants": "merchants", "seed": "random seed"}
    for name, description in numbers.items():
        simulate.add_argument(
            f"--{name}", type=int, default=SAMPLE[name], metavar="N", help=f"{description} [{SAMPLE[name]}]"
        )


def _command(
    subparsers: Any, name: str, function: Callable[[argparse.Namespace], int], description: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=description, description=description)
    parser.set_defaults(command=function)
    return parser


def _add_day(parser: argparse.ArgumentParser, option: str, description: str, **options: Any) -> None:
    parser.add_argument(option, type=argument(parsing.day), metavar="DATE", help=description, **options)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", dest="file", type=Path, metavar="FILE", help="settings file [./fraudline.toml]")
    parser.add_argument(
        "--in",
        dest="launcher",
        choices=("process", "docker"),
        default="process",
        help="run each stage in a process or in its image [process]",
    )
    parser.add_argument("--registry", default="", metavar="PREFIX", help="prefix of the images' names, such as HOST/")
    parser.add_argument("--version", default="dev", metavar="TAG", help="tag of the images [dev]")
    parser.add_argument("--from-start", action="store_true", help="run finished stages again too")
    parsing.add_settings(parser, "a setting, for every stage that has it; overrides the settings file")


def _init(options: argparse.Namespace) -> int:
    from fraudline.catalog.settings import template  # noqa: PLC0415

    if options.file.exists() and not options.force:
        raise InputError(f"{options.file} exists already; give --force to overwrite it, or another name")
    options.file.write_text(template())
    print(f"{options.file}: every setting, each commented out with its default")
    return 0


def _run(options: argparse.Namespace) -> int:
    from fraudline.catalog.settings import load  # noqa: PLC0415
    from fraudline.orchestration.local.runner import Folders  # noqa: PLC0415

    until = options.until or options.as_of
    days = range((until - options.as_of).days + 1)
    if not days:
        raise InputError(f"--until {until} lies before --as-of {options.as_of}")
    settings = load(options.file)
    folders = Folders(_folder("data", options.data, settings), _folder("root", options.root, settings))
    executions = [Execution(options.workflow, options.as_of + timedelta(days=day)) for day in days]
    return _execute(executions, folders, settings, options)


def _demo(options: argparse.Namespace) -> int:
    from fraudline.catalog.settings import load  # noqa: PLC0415
    from fraudline.orchestration.local.runner import Folders  # noqa: PLC0415

    settings = load(options.file)
    if options.data or settings.data:
        data = _folder("data", options.data, settings)
    else:
        data = SAMPLE_FOLDER
        if not data.exists():
            _simulate(argparse.Namespace(folder=data, **SAMPLE))
    last = max((path.name for path in (data / "raw").glob("????-??-??")), default=None)
    if last is None:
        raise InputError(f"--data {data}: expected raw/YYYY-MM-DD/ and labeled/; fraudline simulate writes an example")
    day = date.fromisoformat(last)
    folders = Folders(data, DEMO_ROOTS / f"{data.resolve().name}-{options.launcher}")
    executions = [Execution("training", day), Execution("daily", day + timedelta(days=1))]
    return _execute(executions, folders, settings, options)


def _folder(key: str, option: str | None, settings: Settings) -> Path:
    """Return the folder that an option names, else the settings file."""
    location: str = option or getattr(settings, key)
    if not location:
        raise InputError(f"--{key} is missing: give it, or set {key} below [site] in fraudline.toml")
    if "://" in location:
        source = f"--{key}" if option else f"{settings.path}, [site] {key}"
        raise InputError(f"{source}: a run on this computer needs a folder, got {location}; give --{key} FOLDER")
    return Path(location)


def _execute(executions: Sequence[Execution], folders: Folders, settings: Settings, options: argparse.Namespace) -> int:
    from fraudline.catalog.settings import overridden  # noqa: PLC0415
    from fraudline.orchestration.local import launchers, runner, suggestions, terminal  # noqa: PLC0415

    workflows = list(dict.fromkeys(execution.workflow for execution in executions))
    runner.check(workflows, options.settings)
    stage_settings = overridden(settings.parameters(), options.settings)
    launcher = launchers.launcher(options.launcher, options.registry, options.version)
    shown = terminal.Terminal()
    for execution in executions:
        shown.begin(execution, options.launcher)
        try:
            summaries = runner.run(
                execution, folders, launcher, stage_settings, shown.observe, from_start=options.from_start
            )
        except launchers.StageError as error:
            shown.stop()
            message = suggestions.pasteable(str(error), error.stage, execution, _invocation(folders, options))
            print(f"{execution.id}, {error.stage.name}: {message}", file=sys.stderr)
            return error.code
        finally:
            shown.stop()
        shown.end(summaries, folders, execution)
    return 0


def _invocation(folders: Folders, options: argparse.Namespace) -> Invocation:
    from fraudline.orchestration.local.suggestions import Invocation  # noqa: PLC0415

    words = ["--settings", str(options.file)] if options.file else []
    if options.launcher != "process":
        words += ["--in", options.launcher, "--version", options.version]
        words += ["--registry", options.registry] if options.registry else []
    return Invocation(folders, options.settings, words)


def _simulate(options: argparse.Namespace) -> int:
    from fraudline.simulate import simulate  # noqa: PLC0415

    simulation = simulate(
        options.folder,
        start=options.start,
        days=options.days,
        customers=options.customers,
        merchants=options.merchants,
        seed=options.seed,
    )
    print(f"{simulation} in {options.folder}")
    return 0
