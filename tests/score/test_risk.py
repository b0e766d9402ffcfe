"""What a score means, and what is told beside it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import SCORES
from fraudline.catalog.stages import STAGES
from fraudline.model.artifact import find, pack
from fraudline.model.calibration import calibrated
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from fraudline.score import risk
from fraudline.score.alerts import alerts_of
from fraudline.score.filter_high_risk import review_threshold
from tests.artifacts import ROWS
from tests.running import run_stage

SCORED = [f"t{number}" for number in range(len(ROWS))]


def test_levels_begin_above_their_bounds_and_reasons_above_low(model: Model):
    scores = risk.score(model, SCORED, ROWS)
    levels = {"HIGH": (0.8, 1.0), "MEDIUM": (0.5, 0.8), "LOW": (-1.0, 0.5)}
    for level, (low, high) in levels.items():
        of_level = scores.filter(pl.col("risk_level") == level)
        assert of_level.height
        assert of_level.select(((pl.col("fraud_score") > low) & (pl.col("fraud_score") <= high)).all()).item()
        assert of_level.get_column("reasons").is_null().all() == (level == "LOW")


def test_reasons_are_the_largest_contributions_which_add_up_to_the_margin(model: Model):
    contributions = model.contributions(ROWS)
    np.testing.assert_allclose(contributions.sum(axis=1), model.margins(ROWS), atol=1e-4)
    codes = risk.reason_codes(model, ROWS[:20])
    for row, given, reasons in zip(ROWS, contributions, codes, strict=False):
        assert [reason["contribution"] for reason in reasons] == sorted(
            (value for value in given[:-1].tolist() if value > 0), reverse=True
        )
        for reason in reasons:
            assert reason["value"] == row[model.features.index(reason["feature"])]


def test_the_score_rises_with_the_margin():
    """Otherwise ranking by score and by margin would disagree."""
    scores = calibrated(np.linspace(-12, 12, 1001, dtype=np.float32), 1.3, -0.4)
    assert (np.diff(scores) > 0).all()


def test_an_artifact_is_found_as_files_as_an_archive_and_as_the_champion(artifact: Path, model: Model, tmp_path: Path):
    packed, champion = tmp_path / "packed", tmp_path / "champion"
    packed.mkdir()
    (packed / "model.tar.gz").write_bytes(pack(artifact))
    champion.mkdir()
    (champion / "v2026-02-01").symlink_to(artifact)
    (champion / "current.json").write_text(json.dumps({"champion": {"model_version": "v2026-02-01"}}))
    for place in (packed, champion):
        with Channels(STAGES["serve"], {"model": str(place)}, {}) as channels:
            assert load(channels).margins(ROWS).tolist() == model.margins(ROWS).tolist()
    assert pack(artifact) == pack(artifact)


def test_no_champion_yet_is_told_apart_from_a_lost_pointer(tmp_path: Path):
    pointer = tmp_path / "current.json"
    for content, says in (('{"champion": null}', "no champion yet"), ("{}", "no key 'champion'"), ("x", "not JSON")):
        pointer.write_text(content)
        with Channels(STAGES["serve"], {"model": str(tmp_path)}, {}) as channels, pytest.raises(InputError, match=says):
            find(channels)


def test_a_model_that_does_not_reproduce_its_probes_is_refused(artifact: Path, tmp_path: Path):
    """One version of XGBoost may read what another wrote, and score otherwise without an error."""
    for path in artifact.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    probes = json.loads((tmp_path / "probes.json").read_text())
    probes["scores"][7] += 0.001
    (tmp_path / "probes.json").write_text(json.dumps(probes))
    with (
        Channels(STAGES["serve"], {"model": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"does not reproduce its probes \(a score differs by 0.001\)"),
    ):
        load(channels)


def test_a_manifest_without_what_a_scorer_needs_is_named(artifact: Path, tmp_path: Path):
    """An artifact of an earlier version is the user's to replace, not a fault of ours."""
    for path in artifact.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["definitions"], manifest["calibration"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with (
        Channels(STAGES["serve"], {"model": str(tmp_path)}, {}) as channels,
        pytest.raises(InputError, match=r"manifest.json lacks definitions, calibration; train again"),
    ):
        load(channels)


def test_features_of_another_contract_are_refused(artifact: Path, tmp_path: Path):
    features = tmp_path / "features"
    features.mkdir()
    (features / "contract.json").write_text(
        json.dumps({"contract": "other", "definitions": {}, "features": ["amount"]})
    )
    now = datetime(2026, 2, 1, tzinfo=UTC)
    row = {"transaction_id": "t", "customer_id": "c", "timestamp": now, "amount": 1.0}
    pl.DataFrame([row], schema_overrides={"amount": pl.Float32}).write_parquet(features / "part-0.parquet")
    with pytest.raises(InputError, match="contract other, expected abc: amount is missing as model v2026-02-01 has it"):
        run_stage(
            "fraud-scoring",
            {"features": features, "model": artifact},
            {"scores": tmp_path / "scores"},
            as_of="2026-02-02",
        )


def test_the_review_threshold_fills_the_budget(model: Model):
    scores = risk.score(model, SCORED, ROWS)
    threshold = review_threshold(scores, 25)
    assert scores.filter(pl.col("fraud_score") >= threshold).height == 25
    assert review_threshold(scores, 401) is None


def test_an_alert_hides_its_customer_and_keeps_its_id_whenever_it_is_sent():
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


def test_scores_have_the_schema(model: Model):
    assert risk.score(model, SCORED, ROWS).schema == pl.Schema(SCORES)
    assert risk.score(model, [], ROWS[:0]).schema == pl.Schema(SCORES)
