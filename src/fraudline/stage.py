"""The one contract between a stage and whatever runs it: channels, parameters, and a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fraudline.channel import Channels

Summary = dict[str, Any]
REQUIRED = object()

# The output that every stage has beside its channels: the prefix that they lie below.
SUMMARY = "summary"
SUMMARY_FILE = "summary.json"
# Names the champion, or null: the first file that a new root needs.
POINTER_FILE = "current.json"
# The key of a summary under which the values of a stage's metrics stand, by name.
WATCHED = "watched"


@dataclass(frozen=True)
class Channel:
    """A named folder or s3:// prefix that a stage reads or writes."""

    name: str
    says: str
    required: bool = True
    published: bool = False  # outlives its execution: written once, and equal ever after


@dataclass(frozen=True)
class Parameter:
    """A named value; ``type`` turns its text into the value and raises ValueError when it can't."""

    name: str
    type: Callable[[str], Any]
    says: str
    unit: str = ""
    default: Any = REQUIRED
    many: bool = False

    @property
    def option(self) -> str:
        """How it is written on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """Its default as one would write it; empty where it has none."""
        if self.default is REQUIRED or self.default in (None, ()):
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


@dataclass(frozen=True)
class Metric:
    """A number that an alarm may watch; ``unit`` is one of CloudWatch's."""

    name: str
    says: str
    unit: Literal["None", "Count"] = "None"


@dataclass(frozen=True)
class Stage:
    """One command of one image; its code is the function ``run`` of the module of its name."""

    name: str
    step: str
    image: Literal["etl", "features", "train", "score"]
    prefix: str
    says: str
    reads: tuple[Channel, ...] = ()
    writes: tuple[Channel, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    watches: tuple[Metric, ...] = ()
    host: Literal["processing", "training", "hosting"] = "processing"

    def run(self, channels: Channels, **parameters: Any) -> Summary:
        """Import the stage's module, and only that, and run it."""
        module = import_module(f"fraudline.{self.image}.{self.name.replace('-', '_')}")
        summary: Summary = module.run(channels, **parameters)
        return summary
