"""The Glue job fraud-feature-eng writes what the image's feature-engineering writes, so one can replace the other."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.features import FEATURES, DistanceFromHome, DistanceFromPrevious, SpeedFromPrevious
from fraudline.simulate import simulate
from tests.glue.jobs import run_job
from tests.running import run_stage

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

START, DAYS, AS_OF = date(2026, 1, 1), 70, date(2026, 3, 12)
SPLIT = ("train", "validation", "test")
# sin and cos of two libraries may differ in the last bit.
INEXACT = [
    f.name for f in FEATURES if isinstance(f.aggregate, DistanceFromHome | DistanceFromPrevious | SpeedFromPrevious)
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extract a dataset with the image's stage, in several folders, with 30 % of the genuine rows sampled."""
    root = tmp_path_factory.mktemp("data")
    simulate(root, start=START, days=DAYS, customers=300, merchants=100, seed=3)
    outputs = {name: root / name for name in ("dataset", "rejected", "summary")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fraudline.etl.dataset.FOLDER_ROWS", 9_000)
        run_stage(
            "data-extraction", {"raw": root / "raw", "labels": root / "labeled"}, outputs, as_of=AS_OF, sample=0.3
        )
    return root / "dataset"


def feature_outputs(root: Path) -> dict[str, Path]:
    return {name: root / name for name in (*SPLIT, "history", "summary")}


@pytest.fixture(scope="module")
def both(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run the image's stage and the Glue job on one dataset."""
    image, glue = (tmp_path_factory.mktemp(name) for name in ("image", "glue"))
    run_stage("feature-engineering", {"dataset": dataset}, feature_outputs(image), as_of=AS_OF, execution="one")
    run_job("fraud_feature_eng", {"dataset": dataset}, feature_outputs(glue), as_of=AS_OF, execution="one")
    return image, glue


@pytest.mark.parametrize("name", SPLIT)
def test_features_equal_the_images_except_distances(name: str, both: tuple[Path, Path]):
    """A model may learn from features of Spark and score features of NumPy."""
    image, glue = (pl.read_parquet(root / name / "*.parquet").sort("transaction_id") for root in both)
    assert image.height > 300
    assert_frame_equal(glue.drop(INEXACT), image.drop(INEXACT), check_exact=True)
    assert image.select(pl.col(INEXACT).count() > 0).row(0) == (True,) * len(INEXACT)
    assert_frame_equal(glue.select(INEXACT), image.select(INEXACT), rel_tol=2e-7, abs_tol=0)


def test_summary_contracts_and_history_equal_the_images(both: tuple[Path, Path]):
    """With equal content, the second platform to publish a history has nothing to do."""
    for file in ("summary/summary.json", "history/manifest.json", *(f"{name}/contract.json" for name in SPLIT)):
        image, glue = (json.loads((root / file).read_text()) for root in both)
        assert image == glue


def test_job_ends_with_the_message_about_its_input(tmp_path: Path):
    """Glue's console shows how a script ended, so nobody has to search its log."""
    with pytest.raises(SystemExit, match="channel 'dataset': nothing at"):
        run_job("fraud_feature_eng", {"dataset": tmp_path}, feature_outputs(tmp_path), as_of=AS_OF)
