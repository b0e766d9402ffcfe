"""Days and their numbers. Every day here is a UTC day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

HOUR = 3_600
DAY = 86_400
EPOCH = date(1970, 1, 1)

# Labels and entity-day counts go back this many days, so a label delay plus a window must not be longer.
RISK_HISTORY_DAYS = 60


def midnight(day: date) -> datetime:
    """Return the start of a day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def day_number(day: date) -> int:
    """Return the number of days since 1970-01-01."""
    return (day - EPOCH).days


def from_day_number(number: int) -> date:
    """Return the day that is ``number`` days after 1970-01-01."""
    return EPOCH + timedelta(days=number)


def day_before(day: date) -> date:
    """Return the previous day."""
    return day - timedelta(days=1)
