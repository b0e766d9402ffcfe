"""The split of days by time, with a label delay between its periods."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudline.catalog.errors import InputError
from fraudline.features.split import split_days

AS_OF = date(2026, 6, 1)


@given(
    days=st.integers(70, 400),
    delay=st.integers(0, 10),
    warmup=st.integers(0, 14),
    test=st.integers(1, 10),
    share=st.floats(0.1, 0.5),
)
def test_periods_follow_one_another_a_delay_apart(days: int, delay: int, warmup: int, test: int, share: float):
    """The labels of a period's last day must be known before the next period begins."""
    first, gap = AS_OF - timedelta(days=days), timedelta(days=delay)
    split = split_days(first, AS_OF, delay=delay, warmup=warmup, test=test, validation_share=share)
    assert split.train.first == first + timedelta(days=warmup)
    assert split.train.end + gap == split.validation.first
    assert split.validation.end + gap == split.test.first
    assert split.test.end + gap == AS_OF
    assert (split.test.end - split.test.first).days == test
    assert all(period.first < period.end for period in split.periods.values())


def test_too_few_days_are_refused_with_the_days_needed():
    with pytest.raises(InputError, match="30 days before 2026-06-01 are too few: 14 to warm up"):
        split_days(AS_OF - timedelta(days=30), AS_OF, delay=7, warmup=14, test=7, validation_share=0.2)
