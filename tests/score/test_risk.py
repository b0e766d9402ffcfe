"""Risk levels and reason codes of scores, and the threshold that a review budget implies."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import SCORES
from fraudline.model.model import Model
from fraudline.score import risk
from fraudline.score.alerts import alerts_of
from fraudline.score.filter_high_risk import review_threshold
from tests.artifacts import ROWS
from tests.running import run_stage

IDS = [f"t{number}" for number in range(len(ROWS))]


def test_scores_have_the_schema(model: Model):
    assert risk.score(model, IDS, ROWS).schema == pl.Schema(SCORES)
    assert risk.score(model, [], ROWS[:0]).schema == pl.Schema(SCORES)


def test_levels_begin_above_their_bounds_and_reasons_above_low(model: Model):
    scores = risk.score(model, IDS, ROWS)
    levels = {"HIGH": (0.8, 1.0), "MEDIUM": (0.5, 0.8), "LOW": (-1.0, 0.5)}
    for level, (low, high) in levels.items():
        of_level = scores.filter(pl.col("risk_level") == level)
        assert of_level.height
        assert of_level.select(((pl.col("fraud_score") > low) & (pl.col("fraud_score") <= high)).all()).item()
        assert of_level.get_column("reasons").is_null().all() == (level == "LOW")


def test_contributions_add_up_to_the_margin(model: Model):
    np.testing.assert_allclose(model.contributions(ROWS).sum(axis=1), model.margins(ROWS), atol=1e-4)


def test_reasons_are_the_largest_positive_contributions(model: Model):
    codes = risk.reason_codes(model, ROWS[:20])
    for row, contributions, reasons in zip(ROWS, model.contributions(ROWS), codes, strict=False):
        assert [reason["contribution"] for reason in reasons] == sorted(
            (value for value in contributions[:-1].tolist() if value > 0), reverse=True
        )
        for reason in reasons:
            assert reason["value"] == row[model.features.index(reason["feature"])]


def test_features_of_another_contract_are_refused(artifact: Path, tmp_path: Path):
    features = tmp_path / "features"
    features.mkdir()
    (features / "contract.json").write_text(
        json.dumps({"contract": "other", "definitions": {}, "features": ["amount"]})
    )
    now = datetime(2026, 2, 1, tzinfo=UTC)
    row = {"transaction_id": "t", "customer_id": "c", "timestamp": now, "amount": 1.0}
    pl.DataFrame([row], schema_overrides={"amount": pl.Float32}).write_parquet(features / "part-0.parquet")
    with pytest.raises(
        InputError, match="not match model v2026-02-01: feature contract other, expected abc: amount is missing"
    ):
        run_stage(
            "fraud-scoring",
            {"features": features, "model": artifact},
            {"scores": tmp_path / "scores"},
            as_of="2026-02-02",
        )


def test_review_threshold_fills_the_budget(model: Model):
    scores = risk.score(model, IDS, ROWS)
    threshold = review_threshold(scores, 25)
    assert scores.filter(pl.col("fraud_score") >= threshold).height == 25
    assert review_threshold(scores, 401) is None


def test_alert_masks_its_customer_and_keeps_its_id():
    row = {
        "transaction_id": "t1",
        "customer_id": "c_00123456",
        "merchant": "m",
        "cents": 1234,
        "timestamp": datetime(2026, 1, 31, tzinfo=UTC),
        "fraud_score": 0.9,
        "expected_loss": 11.11,
        "alert_priority": "NORMAL",
        "reasons": [],
        "model_version": "v2026-02-01",
    }
    first, again = (next(alerts_of(pl.DataFrame([row]), date(2026, 1, 31))) for _ in range(2))
    assert first == again
    assert first["deduplication_id"] == "2026-01-31/t1"
    assert first["customer_id"] == "••••••3456"
    assert first["amount"] == 12.34
