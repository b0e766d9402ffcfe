"""Stages as data: what a stage reads, writes and takes, whatever platform runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Summary = dict[str, Any]
Image = Literal["etl", "features", "train", "score"]
Platform = Literal["processing", "training", "hosting"]

REQUIRED = object()

# Every stage has this output beside its channels: the prefix that they lie below.
SUMMARY = "summary"
SUMMARY_FILE = "summary.json"
# Names the champion, or null: the first file that a new root needs.
POINTER_FILE = "current.json"
NO_CHAMPION = '{"champion": null}\n'
# The key of a summary that holds the values of the stage's metrics, by name.
WATCHED = "watched"


@dataclass(frozen=True)
class Channel:
    """A named folder or s3:// prefix that a stage reads or writes."""

    name: str
    description: str
    required: bool = True
    published: bool = False  # outlives its execution: written once, and equal ever after


@dataclass(frozen=True)
class Parameter:
    """A named value. ``type`` parses its text and raises ValueError where it can't."""

    name: str
    type: Callable[[str], Any]
    description: str
    unit: str = ""
    default: Any = REQUIRED
    many: bool = False

    @property
    def option(self) -> str:
        """Return the command line option."""
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        """Return True where the parameter has no default."""
        return self.default is REQUIRED

    @property
    def default_text(self) -> str:
        """Return the default as text, empty where there is none."""
        if self.required or self.default in (None, ()):
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


@dataclass(frozen=True)
class Alarm:
    """When a metric's daily value rings an alarm.

    Attributes:
        name: logical name in the stack, without the suffix "Alarm".
        breach: which side of the threshold is wrong.
        threshold: in the metric's unit.
        description: what operators read.
    """

    name: str
    breach: Literal["above", "below"]
    threshold: float
    description: str


@dataclass(frozen=True)
class Metric:
    """A number that a stage reports to CloudWatch; ``unit`` is one of CloudWatch's."""

    name: str
    description: str
    unit: Literal["None", "Count"] = "None"
    alarm: Alarm | None = None


@dataclass(frozen=True)
class Stage:
    """One command of one image.

    Attributes:
        name: the command, and the module ``fraudline.<image>.<name>`` that implements it.
        step: the name of its step in workflows.
        image: the image that holds it.
        prefix: where its outputs lie below an execution.
        description: one sentence for help and documents.
        reads: input channels.
        writes: output channels.
        parameters: values that it takes.
        metrics: what it reports to CloudWatch.
        platform: the SageMaker service whose folders it uses.
    """

    name: str
    step: str
    image: Image
    prefix: str
    description: str
    reads: tuple[Channel, ...] = ()
    writes: tuple[Channel, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    metrics: tuple[Metric, ...] = ()
    platform: Platform = "processing"
