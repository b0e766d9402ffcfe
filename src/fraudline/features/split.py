"""Split days into train, validation and test by time, a label delay apart.

The delay prevents leaks: the labels of each part are mature before the next part begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from fraudline.catalog.errors import InputError

_MIN_TRAIN_DAYS = 7
_MIN_VALIDATION_DAYS = 2


@dataclass(frozen=True)
class Period:
    """The days [first, end)."""

    first: date
    end: date


@dataclass(frozen=True)
class Split:
    """The periods of one training, in this order: warm-up, train, delay, validation, delay, test, delay, as_of."""

    train: Period
    validation: Period
    test: Period

    @property
    def periods(self) -> dict[str, Period]:
        """Return the periods in order, by the channel that holds their rows."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_days(first: date, as_of: date, *, delay: int, warmup: int, test: int, validation_share: float) -> Split:
    """Return the periods between the first day of a dataset and as_of.

    Args:
        first: first day of the dataset.
        as_of: everything before this day's midnight is known.
        delay: the days until a label is mature.
        warmup: the number of first days to leave out, because their windows are not full yet.
        test: the number of days of the test period.
        validation_share: the share of the days before the test period to validate on.

    Raises:
        InputError: there are too few days.
    """
    gap = timedelta(days=delay)
    test_end = as_of - gap
    test_first = test_end - timedelta(days=test)
    train_first, validation_end = first + timedelta(days=warmup), test_first - gap
    days = (validation_end - train_first).days - delay
    validation_days = round(days * validation_share)
    if validation_days < _MIN_VALIDATION_DAYS or days - validation_days < _MIN_TRAIN_DAYS:
        raise InputError(
            f"channel 'dataset': {(as_of - first).days} days before {as_of} are too few: {warmup} to warm up, "
            f"{_MIN_TRAIN_DAYS} or more to train, {_MIN_VALIDATION_DAYS} or more to validate, {test} to test and 3 "
            f"label delays of {delay} days between them; deliver more days, or shorten --warmup-days or --test-days"
        )
    validation_first = validation_end - timedelta(days=validation_days)
    return Split(
        Period(train_first, validation_first - gap),
        Period(validation_first, validation_end),
        Period(test_first, test_end),
    )
