"""The gate: a model as good as the champion may pass, a worse one may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from fraudline.train import gate

RANDOM = np.random.default_rng(5)
ROWS = 4000
LABELS = (RANDOM.random(ROWS) < 0.05).astype(np.int8)
KEYS = pl.DataFrame(
    {
        "customer_id": [f"c{number}" for number in RANDOM.integers(0, 400, ROWS)],
        "timestamp": [
            datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=int(m)) for m in RANDOM.integers(0, 7200, ROWS)
        ],
    }
)
GOOD = (LABELS * 2 + RANDOM.normal(size=ROWS)).astype(np.float32)
BAD = (LABELS * 0.5 + RANDOM.normal(size=ROWS)).astype(np.float32)
METRICS = {"average_precision": 0.5, "card_precision_at_100": 0.3}
FLOORS = {"average_precision": 0.2, "card_precision_at_100": 0.05}


def compare(challenger: np.ndarray, champion: np.ndarray) -> dict[str, gate.Comparison]:
    return gate.compare(KEYS, LABELS, challenger, champion, samples=200, seed=1)


def test_model_is_not_worse_than_itself():
    comparison = compare(GOOD, GOOD)
    assert all((value.low, value.difference, value.high) == (0, 0, 0) for value in comparison.values())
    assert gate.judge(METRICS, FLOORS, comparison).deploy


def test_worse_challenger_is_refused_with_reasons():
    refused = gate.judge(METRICS, FLOORS, compare(BAD, GOOD))
    assert not refused.deploy
    assert any("average_precision: challenger less champion is -" in reason for reason in refused.reasons)
    assert gate.judge(METRICS, FLOORS, compare(GOOD, BAD)).deploy


def test_interval_of_the_paired_bootstrap_holds_the_difference():
    comparison = compare(GOOD, BAD)["average_precision"]
    assert comparison.low < comparison.difference < comparison.high
    assert comparison.low > 0


def test_same_seed_gives_the_same_draws():
    assert compare(GOOD, BAD) == compare(GOOD, BAD)


def test_floors_hold_without_a_champion():
    assert gate.judge(METRICS, FLOORS, None).deploy
    low = gate.judge(METRICS | {"average_precision": 0.1}, FLOORS, None)
    assert not low.deploy
    assert "average_precision 0.100 is below the floor of 0.200" in low.reasons


def test_nan_is_below_every_floor():
    assert not gate.judge(METRICS | {"average_precision": float("nan")}, FLOORS, None).deploy


def test_incomparable_champion_leaves_the_decision_to_a_person():
    verdict = gate.judge(METRICS, FLOORS, "champion v1 was trained on these days")
    assert not verdict.deploy
    assert "a person has to decide" in verdict.reasons[0]
