"""What is written from the code: the images' READMEs, the features, the state machines, and what a month costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fraudline.catalog.contract import contract
from fraudline.catalog.features import FEATURES
from fraudline.catalog.stage import REQUIRED, Channel, Parameter, Stage
from fraudline.catalog.stages import IMAGES, STAGES
from fraudline.entrypoints import opt_ml
from fraudline.entrypoints.metrics import DIMENSION, NAMESPACE
from fraudline.orchestration.step_functions.state_machines import state_machines
from tools import cost

MACHINES = Path("glue", "state_machines")
ABLATION = Path("docs", "ablation.json")  # what benchmarks/ablation.py measured


def documents(repository: Path) -> dict[Path, str]:
    """Each generated document's text, by its path in the repository, which holds the measurements that they show."""
    pages = {Path("containers", image, "README.md"): _image(image) for image in IMAGES}
    machines = {MACHINES / f"{name}.asl.json": _json(content) for name, content in state_machines().items()}
    features = _features(json.loads((repository / ABLATION).read_text()))
    return {**pages, **machines, Path("docs", "features.md"): features, Path("docs", "cost.md"): cost.page()}


def write(repository: Path) -> None:
    """Write them all."""
    for path, text in documents(repository).items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text)


def _json(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"


def _image(image: str) -> str:
    stages = [stage for stage in STAGES.values() if stage.image == image]
    head = f"""# fraudline/{image}

Written by `make docs` from `src/fraudline/catalog/stages.py`. Every stage also takes `--input CHANNEL=PLACE` and
`--output CHANNEL=PLACE`, a folder or an `s3://` prefix, instead of the place in the table. Exit codes: 0 done,
2 the input or a parameter is wrong, 1 the same again may do.
"""
    return "\n".join([head, *(_stage(stage) for stage in stages)])


def _stage(stage: Stage) -> str:
    reads, writes = opt_ml.inputs(stage), opt_ml.outputs(stage)
    channels = [
        *(_channel_row("reads", channel, reads) for channel in stage.reads),
        *(_channel_row("writes", channel, writes) for channel in stage.writes),
    ]
    if "summary" in writes:
        channels.append(("writes", "`summary`", f"`{writes['summary']}`", "summary.json"))
    parts = [
        f"## {stage.name}\n",
        f"{stage.description}\n",
        f"    {_command(stage)}\n",
        _table(("", "channel", "place", "holds"), channels),
    ]
    if stage.parameters:
        rows = [_parameter_row(parameter) for parameter in stage.parameters]
        parts.append(_table(("parameter", "unit", "default", "says"), rows))
    if stage.metrics:
        rows = [(f"`{metric.name}`", metric.unit, metric.description) for metric in stage.metrics]
        parts.append(_table((f"metric (`{NAMESPACE}`, `{DIMENSION}` = `{stage.name}`)", "unit", "says"), rows))
    return "\n".join(parts)


def _command(stage: Stage) -> str:
    required = [f"{parameter.option} 2026-02-01" for parameter in stage.parameters if parameter.default is REQUIRED]
    mount, port = '-v "$PWD/ml:/opt/ml"', "-p 8080:8080 " if stage.platform == "hosting" else ""
    return " ".join([f"docker run --rm {port}{mount} fraudline/{stage.image}:dev {stage.name}", *required])


def _channel_row(verb: str, channel: Channel, places: dict[str, str]) -> tuple[str, ...]:
    notes = [channel.description, *(["optional"] if verb == "reads" and not channel.required else [])]
    notes += ["published: never changes once written"] if channel.published else []
    return verb, f"`{channel.name}`", f"`{places[channel.name]}`", "; ".join(notes)


def _parameter_row(parameter: Parameter) -> tuple[str, ...]:
    return f"`{parameter.option}`", parameter.unit, _default(parameter), parameter.description


def _default(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return "**required**"
    return f"`{parameter.default_text}`" if parameter.default_text else ""


def _features(ablation: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{feature.name}`",
            feature.entity.replace("_", " "),
            feature.unit,
            feature.description[0].upper() + feature.description[1:],
        )
        for feature in FEATURES
    ]
    return f"""# The features

Written by `make docs` from `src/fraudline/catalog/features.py`. Contract `{contract()}`.

A feature of a transaction at second *t* of day *T* sees its customer's other transactions in [*t* - window, *t*):
neither the row itself nor its same-second peers. A feature of a merchant or a category sees whole days,
[*T* - delay - window, *T* - delay), and only labels that were known before *T*. Where there is nothing to compute
from, a feature is null.

{_table(("feature", "of the", "unit", "says"), rows)}
## What each feature brings

{ablation_page(ablation)}"""


def ablation_page(ablation: Mapping[str, Any]) -> str:
    """What ``benchmarks/ablation.py`` measured, in words and one table for each of its studies."""
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in ablation["settings"].items())
    head = f"""Measured by `python -m benchmarks.ablation` on contract `{ablation["contract"]}`.

Each test week has a model of its own, which learns what was known on the day the week begins: every fraud, and a draw
of the genuine rows, weighed up; of some draws the mean counts. The tables say how much average precision is lost
without a feature, all others in place: the mean over the test weeks, its standard error, and the lowest and the highest
week.

- A mean below twice its standard error is noise between weeks: such a feature brings nothing that was seen here.
- A feature whose content others repeat loses little alone; what a group loses together tells more.
- Weeks of one data set share their customers and merchants, so the standard errors are rather too small.
- Made-up data say that a feature can carry what it is meant to carry, not how much it would on real cards.

Settings: {settings}.
"""
    return "\n".join([head, *(_study(study) for study in ablation["studies"])])


def _study(study: Mapping[str, Any]) -> str:
    scores, weeks = study["average_precision"], ", ".join(study["weeks"])
    losses = [(f"`{name}`", weekly) for name, weekly in study["lost_without"].items()]
    losses += [(f"all of {name}", weekly) for name, weekly in study["lost_without_all_of"].items()]
    rows = [(name, *_loss(weekly)) for name, weekly in sorted(losses, key=lambda loss: -mean(loss[1]))]
    return f"""### {study["data"]}

{study["rows"]:,} transactions, {study["frauds"]:,} of them fraud; test weeks from {weeks}.
Average precision with all features {mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f}).

{_table(("without", "lost", "standard error", "lowest", "highest"), rows)}"""


def _loss(weekly: list[float]) -> tuple[str, ...]:
    error = stdev(weekly) / len(weekly) ** 0.5
    return f"{mean(weekly):+.4f}", f"{error:.4f}", f"{min(weekly):+.4f}", f"{max(weekly):+.4f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write(Path())
