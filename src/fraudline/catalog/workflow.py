"""The single table of workflows: the steps of each in order, and which output feeds which input.

An input comes from an earlier step of the execution, or from an address that outlives the execution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from fraudline.catalog import stages
from fraudline.catalog.days import day_before
from fraudline.catalog.stage import Channel, Stage


@dataclass(frozen=True)
class Output:
    """An output of an earlier step of the same execution."""

    stage: str
    channel: str


@dataclass(frozen=True)
class Address:
    """A prefix that outlives executions.

    Attributes:
        template: the prefix, with the fields ``{as_of}``, ``{day}`` and ``{contract}`` of the execution.
        base: the base URI that it is relative to: ``data`` for deliveries, ``root`` for what stages write.
        job_below: True if a Training job wrote it, which adds a folder with the job's name.
    """

    template: str
    base: Literal["data", "root"] = "root"
    job_below: bool = False


Source = Output | Address

RAW, LABELS = Address("raw/", "data"), Address("labeled/", "data")
CHAMPION, MODELS = Address("champion/"), Address("models/v{as_of}/")
HISTORY_BEFORE_DAY = Address("history/{contract}/before={day}/")
HISTORY_BEFORE_AS_OF = Address("history/{contract}/before={as_of}/")
PAST, ARCHIVE = Address("scores/"), Address("scores/date={day}/")
REPORT = Address("reports/date={day}/")
TRAINED = Address("executions/training-{as_of}/Model/model/", job_below=True)
EVALUATED = Address("executions/training-{as_of}/Evaluation/evaluation/")


@dataclass(frozen=True)
class Step:
    """A stage in a workflow; outputs without an address go below the prefix of the execution."""

    stage: Stage
    reads: Mapping[str, Source]
    writes: Mapping[str, Address] = field(default_factory=dict)

    def mounts(self, channel: Channel) -> bool:
        """Return True if SageMaker may copy an input as a whole: one job wrote it, and it is never empty.

        SageMaker copies a whole prefix, even if a stage needs only some of its days, and fails if it is empty.
        """
        source = self.reads[channel.name]
        return channel.required and (isinstance(source, Output) or source.job_below)


@dataclass(frozen=True)
class Workflow:
    """Steps that run one after another.

    Attributes:
        name: its name on command lines and in the prefixes of executions.
        pipeline: the name of its SageMaker pipeline, after the site's name.
        description: one sentence for help and state machines.
        steps: the steps in the order in which they run.
    """

    name: str
    pipeline: str
    description: str
    steps: tuple[Step, ...]


_EXTRACT = Step(stages.DATA_EXTRACTION, {"raw": RAW, "labels": LABELS})

TRAINING = Workflow(
    "training",
    "model-training",
    "Train a model on months of transactions and, if the gate agrees, make it the champion.",
    (
        _EXTRACT,
        Step(
            stages.FEATURE_ENGINEERING,
            {"dataset": Output("data-extraction", "dataset")},
            {"history": HISTORY_BEFORE_AS_OF},
        ),
        Step(
            stages.TRAIN,
            {
                "train": Output("feature-engineering", "train"),
                "validation": Output("feature-engineering", "validation"),
            },
        ),
        Step(
            stages.EVALUATE_MODEL,
            {"model": Output("train", "model"), "test": Output("feature-engineering", "test"), "champion": CHAMPION},
        ),
        Step(
            stages.DEPLOY_MODEL,
            {"model": Output("train", "model"), "evaluation": Output("evaluate-model", "evaluation")},
            {"models": MODELS, "champion": CHAMPION},
        ),
    ),
)
DAILY = Workflow(
    "daily",
    "detection-daily",
    "Score the day before as_of, send alerts, and write the report.",
    (
        Step(stages.ETL, {"raw": RAW, "labels": LABELS}),
        Step(
            stages.FEATURE_EXTRACTION,
            {
                "transactions": Output("etl", "transactions"),
                "labels": Output("etl", "labels"),
                "history": HISTORY_BEFORE_DAY,
            },
            {"history": HISTORY_BEFORE_AS_OF},
        ),
        Step(stages.FRAUD_SCORING, {"features": Output("feature-extraction", "features"), "model": CHAMPION}),
        Step(
            stages.FILTER_HIGH_RISK,
            {"scores": Output("fraud-scoring", "scores"), "transactions": Output("etl", "transactions")},
        ),
        Step(
            stages.ALERT_AND_STORE,
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
    ),
)
DEPLOYMENT = Workflow(
    "deployment",
    "model-deployment",
    "Deploy the model of an earlier training: after a person approved it, or to go back to it.",
    (Step(stages.DEPLOY_MODEL, {"model": TRAINED, "evaluation": EVALUATED}, {"models": MODELS, "champion": CHAMPION}),),
)
BACKFILL = Workflow(
    "backfill",
    "history-backfill",
    "Rebuild the history before as_of from raw data, after a gap or after days were delivered again.",
    (
        _EXTRACT,
        Step(
            stages.BACKFILL_HISTORY,
            {"dataset": Output("data-extraction", "dataset")},
            {"history": HISTORY_BEFORE_AS_OF},
        ),
    ),
)

# SageMaker pipelines register models in this group, after the site's name; there, a person may approve them.
MODEL_PACKAGES = "detection"

WORKFLOWS: Mapping[str, Workflow] = {workflow.name: workflow for workflow in (TRAINING, DAILY, DEPLOYMENT, BACKFILL)}


@dataclass(frozen=True)
class Execution:
    """One run of a workflow as of a day."""

    workflow: str
    as_of: date

    @property
    def id(self) -> str:
        """Return the execution's name, which is also its prefix below ``executions/``."""
        return f"{self.workflow}-{self.as_of}"

    @property
    def day(self) -> date:
        """Return the last visible day, the one before ``as_of``."""
        return day_before(self.as_of)
