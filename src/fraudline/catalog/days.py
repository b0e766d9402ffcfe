"""Facts about days and instants; all of them are UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

HOUR = 3_600
DAY = 86_400
EPOCH = date(1970, 1, 1)

# Labels and entity-day counts reach back this many days, so no label delay plus window may be longer.
RISK_HISTORY_DAYS = 60


def midnight(day: date) -> datetime:
    """The UTC instant at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def from_day_number(number: int) -> date:
    """The day that is this many days after 1970-01-01."""
    return EPOCH + timedelta(days=number)


def day_before(day: date) -> date:
    """Return the previous day."""
    return day - timedelta(days=1)
