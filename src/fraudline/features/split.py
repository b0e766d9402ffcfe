"""Train, validation and test by time, a label delay apart: what training could have known on its day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from fraudline.catalog.errors import InputError


@dataclass(frozen=True)
class Period:
    """The days [first, end)."""

    first: date
    end: date


@dataclass(frozen=True)
class Split:
    """train, delay, validation, delay, test, delay, as_of; and the warm-up before train."""

    train: Period
    validation: Period
    test: Period


def split(first: date, as_of: date, *, delay: int, warmup: int, test: int, validation_share: float) -> Split:
    """The periods between the first day of a dataset and as_of.

    Args:
        first: the dataset's first day.
        as_of: the day before whose midnight all is known.
        delay: days until a label is mature.
        warmup: first days, whose windows are not full yet.
        test: days of the test period.
        validation_share: share of the days before the test that validate.

    Raises:
        InputError: there are too few days.
    """
    gap = timedelta(days=delay)
    test_end = as_of - gap
    test_first = test_end - timedelta(days=test)
    train_first, validation_end = first + timedelta(days=warmup), test_first - gap
    days = (validation_end - train_first).days - delay
    validation_days = round(days * validation_share)
    if validation_days < 2 or days - validation_days < 7:
        raise InputError(
            f"channel 'dataset': {(as_of - first).days} days before {as_of} are too few: {warmup} to warm up, 7 or "
            f"more to train, 2 or more to validate, {test} to test and 3 label delays of {delay} days between them; "
            "deliver more days, or shorten --warmup-days or --test-days"
        )
    validation_first = validation_end - timedelta(days=validation_days)
    return Split(
        Period(train_first, validation_first - gap),
        Period(validation_first, validation_end),
        Period(test_first, test_end),
    )
