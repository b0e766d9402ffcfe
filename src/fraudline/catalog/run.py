"""What every run of a batch stage is given: its day, its execution and its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from fraudline.catalog.days import day_before


@dataclass(frozen=True)
class Job:
    """The platform's job that runs a stage; what the platform does not name is None."""

    name: str | None
    arn: str | None


@dataclass(frozen=True)
class Run:
    """One run of a stage.

    Attributes:
        as_of: only rows before this day's midnight are visible.
        execution: who publishes, for the error when two executions disagree.
        replace: let a published channel change what it holds.
        now: the clock.
        job: the platform's job, where it names one.
    """

    as_of: date
    execution: str
    replace: bool
    now: datetime
    job: Job | None = None

    @property
    def day(self) -> date:
        """The last visible day, the one before ``as_of``."""
        return day_before(self.as_of)
