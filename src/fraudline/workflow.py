"""Both workflows as data: which stage, in which order, and whose channel feeds whose.

A channel comes from an earlier stage's output, or lives at an address of its own that outlives the
execution. In an address ``{as_of}`` is the execution's day and ``{day}`` the day before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from fraudline.features.definitions import contract
from fraudline.stage import SUMMARY, Channel, Stage
from fraudline.stages import STAGES


@dataclass(frozen=True)
class Output:
    """What an earlier stage of the same execution wrote."""

    stage: str
    channel: str


@dataclass(frozen=True)
class Address:
    """A place below the root that outlives executions."""

    template: str


Place = Output | Address

RAW, LABELS = Address("raw/"), Address("labeled/")
CHAMPION, MODELS = Address("champion/"), Address("models/v{as_of}/")
HISTORY_BEFORE_DAY = Address("history/{contract}/before={day}/")
HISTORY_BEFORE_AS_OF = Address("history/{contract}/before={as_of}/")
PAST, ARCHIVE = Address("scores/"), Address("scores/date={day}/")
REPORT = Address("reports/date={day}/")
TRAINED, JUDGED = (
    Address("executions/training-{as_of}/Model/model/"),
    Address("executions/training-{as_of}/Evaluation/evaluation/"),
)


@dataclass(frozen=True)
class Step:
    """A stage in a workflow; outputs not named go below the execution's own prefix."""

    stage: Stage
    reads: Mapping[str, Place]
    writes: Mapping[str, Address] = field(default_factory=dict)

    def mounts(self, channel: Channel) -> bool:
        """Whether SageMaker may copy a channel in whole: this execution wrote it, and it is never empty."""
        return isinstance(self.reads[channel.name], Output) and channel.required


TRAINING = (
    Step(STAGES["data-extraction"], {"raw": RAW, "labels": LABELS}),
    Step(
        STAGES["feature-engineering"],
        {"dataset": Output("data-extraction", "dataset")},
        {"history": HISTORY_BEFORE_AS_OF},
    ),
    Step(
        STAGES["train"],
        {"train": Output("feature-engineering", "train"), "validation": Output("feature-engineering", "validation")},
    ),
    Step(
        STAGES["evaluate-model"],
        {"model": Output("train", "model"), "test": Output("feature-engineering", "test"), "champion": CHAMPION},
    ),
    Step(
        STAGES["deploy-model"],
        {"model": Output("train", "model"), "evaluation": Output("evaluate-model", "evaluation")},
        {"models": MODELS, "champion": CHAMPION},
    ),
)

DAILY = (
    Step(STAGES["etl"], {"raw": RAW, "labels": LABELS}),
    Step(
        STAGES["feature-extraction"],
        {
            "transactions": Output("etl", "transactions"),
            "labels": Output("etl", "labels"),
            "history": HISTORY_BEFORE_DAY,
        },
        {"history": HISTORY_BEFORE_AS_OF},
    ),
    Step(STAGES["fraud-scoring"], {"features": Output("feature-extraction", "features"), "model": CHAMPION}),
    Step(
        STAGES["filter-high-risk"],
        {"scores": Output("fraud-scoring", "scores"), "transactions": Output("etl", "transactions")},
    ),
    Step(
        STAGES["alert-and-store"],
        {
            "scores": Output("fraud-scoring", "scores"),
            "high_risk": Output("filter-high-risk", "high_risk"),
            "transactions": Output("etl", "transactions"),
            "features": Output("feature-extraction", "features"),
            "rejected": Output("etl", "rejected"),
            "labels": Output("etl", "labels"),
            "past": PAST,
            "reference": CHAMPION,
        },
        {"archive": ARCHIVE, "report": REPORT},
    ),
)

# One model of an earlier training: after a person approved it, or to go back to it.
DEPLOYMENT = (
    Step(STAGES["deploy-model"], {"model": TRAINED, "evaluation": JUDGED}, {"models": MODELS, "champion": CHAMPION}),
)

BACKFILL = (
    TRAINING[0],
    Step(
        STAGES["backfill-history"], {"dataset": Output("data-extraction", "dataset")}, {"history": HISTORY_BEFORE_AS_OF}
    ),
)

WORKFLOWS: Mapping[str, tuple[Step, ...]] = {
    "training": TRAINING,
    "daily": DAILY,
    "deployment": DEPLOYMENT,
    "backfill": BACKFILL,
}


@dataclass(frozen=True)
class Execution:
    """One run of a workflow as of a day."""

    workflow: str
    as_of: date

    @property
    def id(self) -> str:
        """Its name, and its prefix below ``executions/``."""
        return f"{self.workflow}-{self.as_of}"

    def inputs(self, step: Step) -> dict[str, str]:
        """The channels that a step reads, relative to the root."""
        return {name: dated(place, self.as_of) for name, place in inputs(self.workflow, step).items()}

    def outputs(self, step: Step) -> dict[str, str]:
        """The channels that a step writes, relative to the root, and ``summary``."""
        return {name: dated(place, self.as_of) for name, place in outputs(self.workflow, step).items()}

    def prefix(self, stage: Stage) -> str:
        """Where a stage's own outputs lie."""
        return dated(_prefix(self.workflow, stage), self.as_of)


def inputs(workflow: str, step: Step) -> dict[str, str]:
    """The channels that a step reads, relative to the root, for ``dated`` to make them a day's."""
    return {name: _template(workflow, place) for name, place in step.reads.items()}


def outputs(workflow: str, step: Step) -> dict[str, str]:
    """The channels that a step writes and ``summary``, likewise."""
    own = {channel.name: Output(step.stage.name, channel.name) for channel in step.stage.writes}
    places: dict[str, Place] = {**own, **step.writes}
    return {**{name: _template(workflow, at) for name, at in places.items()}, SUMMARY: _prefix(workflow, step.stage)}


def dated(template: str, as_of: date) -> str:
    """An address as of a day: ``{as_of}``, ``{day}`` and ``{contract}`` are replaced by what they stand for."""
    meant = {"as_of": as_of, "day": as_of - timedelta(days=1), "contract": contract()}
    for name, value in meant.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template


def _template(workflow: str, place: Place) -> str:
    if isinstance(place, Output):
        return f"{_prefix(workflow, STAGES[place.stage])}{place.channel}/"
    return place.template


def _prefix(workflow: str, stage: Stage) -> str:
    return f"executions/{workflow}-{{as_of}}/{stage.prefix}/"
