"""The context that every run of a batch stage receives: its day, its execution and its clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from fraudline.catalog.days import day_before


@dataclass(frozen=True)
class Job:
    """The platform's job that runs a stage; None for what the platform does not report."""

    name: str | None
    arn: str | None


@dataclass(frozen=True)
class Run:
    """One run of a stage.

    Attributes:
        as_of: only rows before this day's midnight are visible.
        execution: the execution's name, for the error when two executions publish different content.
        replace: whether a published channel may change its content.
        now: the clock, read when the stage starts.
        job: the platform's job, if it reports one.
    """

    as_of: date
    execution: str
    replace: bool
    now: datetime
    job: Job | None = None

    @property
    def day(self) -> date:
        """Return the last visible day, the one before ``as_of``."""
        return day_before(self.as_of)
