"""Stages as data: what a stage reads, writes and takes, on whatever platform it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Summary = dict[str, Any]
Image = Literal["etl", "features", "train", "score"]
Platform = Literal["processing", "training", "hosting"]

REQUIRED = object()

# Every stage also has this output: the prefix that contains its channels.
SUMMARY = "summary"
SUMMARY_FILE = "summary.json"
# The file that names the champion. A new root needs it too, with NO_CHAMPION as its content.
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
    published: bool = False  # outlives its execution: written once, never changed


@dataclass(frozen=True)
class Parameter:
    """A named value of a stage. ``type`` parses its text, and raises ValueError if that is impossible."""

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
        """Return True if the parameter has no default."""
        return self.default is REQUIRED

    @property
    def default_text(self) -> str:
        """Return the default as text, or an empty string if there is none."""
        if self.required or self.default in (None, ()):
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


@dataclass(frozen=True)
class Alarm:
    """The condition under which a metric's daily value raises an alarm.

    Attributes:
        name: the logical id in the stack, without the suffix "Alarm".
        breach: the side of the threshold that raises the alarm.
        threshold: a value in the metric's unit.
        description: the text that operators read.
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
        name: the command, implemented by the module ``fraudline.<image>.<name>``.
        step: the name of its step in workflows.
        image: the image that contains it.
        prefix: the prefix of its outputs, relative to the execution.
        description: one sentence for help and documents.
        reads: input channels.
        writes: output channels.
        parameters: the values that it takes.
        metrics: the metrics that it reports to CloudWatch.
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
