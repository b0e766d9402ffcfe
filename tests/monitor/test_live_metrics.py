"""Metrics of the archived scores whose labels are mature."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from fraudline.monitor.live_metrics import MATURE_DAYS, METRICS, live_metrics
from tests.monitor.conftest import Archive, Rows

DAY = date(2026, 1, 31)
LABEL_DELAY = 7
MATURE = DAY - timedelta(days=LABEL_DELAY)


def metrics(archive: Archive, rows: Rows, day: date = MATURE, label_delay: int = LABEL_DELAY) -> list[float | None]:
    values = live_metrics(archive({day: rows}), DAY, 0.8, label_delay)
    return [values[name] for name in METRICS]


def test_metrics_are_those_computed_by_hand(archive: Archive):
    """Ranks of the frauds: 1, 3 and 4; two of three alerts are fraud; the unlabeled row does not count."""
    rows = [(0.95, 1), (0.9, 0), (0.85, 1), (0.84, None), (0.7, 1), (0.1, 0)]
    average_precision = (1 / 1 + 2 / 3 + 3 / 4) / 3
    assert metrics(archive, rows) == pytest.approx([3 / 5, 2 / 3, 2 / 3, average_precision])


@pytest.mark.parametrize(
    ("rows", "undefined"),
    [
        ([(0.9, None)], {"accuracy", "precision", "recall", "average_precision"}),
        ([(0.9, 0)], {"recall", "average_precision"}),
        ([(0.1, 1)], {"precision"}),
    ],
    ids=["no labels", "no frauds", "no alerts"],
)
def test_undefined_metric_is_none_and_not_zero(archive: Archive, rows: Rows, undefined: set[str]):
    values = dict(zip(METRICS, metrics(archive, rows), strict=True))
    assert {name for name, value in values.items() if value is None} == undefined


@pytest.mark.parametrize(
    ("day", "counts"),
    [
        (MATURE + timedelta(days=1), False),
        (MATURE, True),
        (MATURE - timedelta(days=MATURE_DAYS - 1), True),
        (MATURE - timedelta(days=MATURE_DAYS), False),
    ],
)
def test_only_the_last_mature_days_count(archive: Archive, day: date, counts: bool):
    assert (metrics(archive, [(0.9, 1)], day)[0] is not None) == counts


def test_scored_day_itself_never_counts(archive: Archive):
    assert metrics(archive, [(0.9, 1)], DAY, label_delay=0)[0] is None
