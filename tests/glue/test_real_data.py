"""The Glue jobs one after the other over the whole of some real data, against the images' stages."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.glue.jobs import run_job
from tests.glue.test_fraud_data_extract import places
from tests.glue.test_fraud_feature_eng import INEXACT, SPLIT, feature_places
from tests.running import run_stage

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.usefixtures("spark")]


def test_features_and_history_of_real_data_are_the_images(real_data: Path, tmp_path: Path):
    as_of = date.fromisoformat(max(path.name for path in (real_data / "raw").iterdir())) + timedelta(days=1)
    raw = {"raw": real_data / "raw", "labels": real_data / "labeled"}
    image, glue = tmp_path / "image", tmp_path / "glue"
    run_stage("data-extraction", raw, places(image), as_of=as_of)
    run_stage("feature-engineering", {"dataset": image / "dataset"}, feature_places(image), as_of=as_of)
    run_job("fraud_data_extract", raw, places(glue), as_of=as_of)
    run_job("fraud_feature_eng", {"dataset": glue / "dataset"}, feature_places(glue), as_of=as_of)
    for name in SPLIT:
        one, other = (pl.read_parquet(root / name / "*.parquet").sort("transaction_id") for root in (image, glue))
        assert_frame_equal(other.drop(INEXACT), one.drop(INEXACT), check_exact=True)
        assert_frame_equal(other.select(INEXACT), one.select(INEXACT), rel_tol=2e-7, abs_tol=0)
    one, other = (json.loads((root / "history/manifest.json").read_text()) for root in (image, glue))
    assert one == other
