"""Both Glue jobs on all of some real data, compared with the images' stages."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.glue.jobs import run_job
from tests.glue.test_fraud_data_extract import job_outputs
from tests.glue.test_fraud_feature_eng import INEXACT, SPLIT, feature_outputs
from tests.running import run_stage

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.usefixtures("spark")]


def test_features_and_history_of_real_data_equal_the_images(real_data: Path, tmp_path: Path):
    as_of = date.fromisoformat(max(path.name for path in (real_data / "raw").iterdir())) + timedelta(days=1)
    raw = {"raw": real_data / "raw", "labels": real_data / "labeled"}
    image, glue = tmp_path / "image", tmp_path / "glue"
    run_stage("data-extraction", raw, job_outputs(image), as_of=as_of)
    run_stage("feature-engineering", {"dataset": image / "dataset"}, feature_outputs(image), as_of=as_of)
    run_job("fraud_data_extract", raw, job_outputs(glue), as_of=as_of)
    run_job("fraud_feature_eng", {"dataset": glue / "dataset"}, feature_outputs(glue), as_of=as_of)
    for name in SPLIT:
        expected, actual = (pl.read_parquet(root / name / "*.parquet").sort("transaction_id") for root in (image, glue))
        assert_frame_equal(actual.drop(INEXACT), expected.drop(INEXACT), check_exact=True)
        assert_frame_equal(actual.select(INEXACT), expected.select(INEXACT), rel_tol=2e-7, abs_tol=0)
    expected, actual = (json.loads((root / "history/manifest.json").read_text()) for root in (image, glue))
    assert actual == expected
