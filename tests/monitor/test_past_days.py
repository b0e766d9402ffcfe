"""Counts of the alerts of earlier days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from fraudline.catalog.schema import SCORES
from fraudline.monitor.past_days import SHOWN_DAYS, past_days
from tests.monitor.conftest import Archive

DAY = date(2026, 1, 31)
YESTERDAY = DAY - timedelta(days=1)
ROWS = [(0.95, 1), (0.9, 0), (0.85, None), (0.8, 1), (0.1, 0)]


def test_counts_are_those_of_scores_above_the_threshold(archive: Archive):
    table = past_days(archive({YESTERDAY: ROWS}), DAY, 0.8)
    assert table.rows() == [(YESTERDAY, 5, 3, 2, 1)]


def test_archived_days_of_the_last_thirty_are_listed_in_order(archive: Archive):
    oldest = DAY - timedelta(days=SHOWN_DAYS)
    older = oldest - timedelta(days=1)
    table = past_days(archive({DAY: ROWS, YESTERDAY: ROWS, oldest: ROWS, older: ROWS}), DAY, 0.8)
    assert table["day"].to_list() == [oldest, YESTERDAY]


@pytest.mark.parametrize("column", sorted(set(SCORES) - {"transaction_id", "margin", "fraud_score"}))
def test_archived_day_needs_only_the_columns_that_are_used(archive: Archive, column: str):
    """A day that was archived before a column existed must stay readable."""
    table = past_days(archive({YESTERDAY: ROWS}, without=[column]), DAY, 0.8)
    assert table.rows() == [(YESTERDAY, 5, 3, 2, 1)]


def test_first_day_has_no_past(archive: Archive):
    assert past_days(archive({}), DAY, 0.8).is_empty()
