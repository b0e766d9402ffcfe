"""Parity: training and the daily run compute the same bits for the same transaction."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.contract import contract
from fraudline.catalog.errors import InputError
from fraudline.catalog.features import NAMES
from fraudline.catalog.schema import DATASET, TRANSACTIONS
from fraudline.features.history import EVENTS, entity_history
from fraudline.features.numpy_engine import compute
from fraudline.simulate import simulate
from tests.running import days, run_stage, run_workflow

START, DAYS = date(2026, 1, 1), 95
FIRST = START + timedelta(days=DAYS - 10)  # first of ten daily runs


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run training as of FIRST and then ten days in one root, beside raw data with late labels."""
    root = tmp_path_factory.mktemp("site")
    simulate(root / "data", start=START, days=DAYS, customers=400, merchants=150, seed=3)
    run_days(root / "data", root, FIRST)
    return root


def run_days(data: Path, root: Path, first: date) -> None:
    """Run training as of a day, then that day and nine more, each from the history that the day before published."""
    run_workflow("training", first, data, root, until="feature-engineering")
    for day in days(first, 10):
        run_workflow("daily", day + timedelta(days=1), data, root, until="feature-extraction")


def assert_each_day_equals_training(data: Path, root: Path, first: date) -> None:
    """Compare the ten days with the rows that a training after the last one computes for them."""
    end = first + timedelta(days=10)
    run_stage(
        "data-extraction",
        {"raw": data / "raw", "labels": data / "labeled"},
        {"dataset": root / "later/dataset", "rejected": root / "later/rejected"},
        as_of=end,
    )
    dataset = pl.read_parquet(root / "later/dataset/**/*.parquet").select(*DATASET)
    transactions = dataset.select(*TRANSACTIONS)
    entities = entity_history(dataset.lazy()).entity_days(7, first, end)
    features = compute(transactions, pl.DataFrame(schema=EVENTS), entities)
    trained = pl.concat([transactions.select("transaction_id", "timestamp"), features], how="horizontal")
    for day in days(first, 10):
        prefix = root / f"executions/daily-{day + timedelta(days=1)}/Features/features"
        daily = pl.read_parquet(prefix / "*.parquet").sort("transaction_id")
        rows = trained.filter(pl.col("timestamp").dt.date() == day).sort("transaction_id")
        assert daily.height > 100
        assert_frame_equal(daily.select(NAMES), rows.select(NAMES), check_exact=True)


@pytest.mark.integration
def test_ten_daily_runs_equal_training_bit_for_bit(site: Path):
    assert_each_day_equals_training(site / "data", site, FIRST)


@pytest.mark.slow
def test_ten_daily_runs_of_real_data_equal_training(real_data: Path, tmp_path: Path):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").iterdir()))
    run_days(real_data, tmp_path, last - timedelta(days=9))
    assert_each_day_equals_training(real_data, tmp_path, last - timedelta(days=9))


@pytest.mark.integration
def test_number_of_dataset_folders_changes_nothing(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Folders bound memory, and must not show in any result."""
    monkeypatch.setattr("fraudline.etl.dataset.FOLDER_ROWS", 9_000)
    run_workflow("training", FIRST, site / "data", tmp_path, until="feature-engineering")
    execution = f"executions/training-{FIRST}"
    assert len(list((tmp_path / execution / "DataExtract/dataset").iterdir())) > 3
    for name in ("train", "validation", "test"):
        many, one = (
            pl.read_parquet(root / execution / f"Features/{name}/*.parquet").sort("transaction_id")
            for root in (tmp_path, site)
        )
        assert_frame_equal(many, one, check_exact=True)
    many, one = (json.loads((history_before(root, FIRST) / "manifest.json").read_text()) for root in (tmp_path, site))
    assert many == one


@pytest.mark.integration
def test_sampling_drops_training_rows_and_changes_no_feature(site: Path, tmp_path: Path):
    """Windows see every row; validation and test must look like the rows to score."""
    run_workflow("training", FIRST, site / "data", tmp_path, until="feature-engineering", sample=0.3)
    tables = {}
    for name in ("train", "validation", "test"):
        path = f"executions/training-{FIRST}/Features/{name}/*.parquet"
        tables[name] = [pl.read_parquet(root / path).sort("transaction_id") for root in (tmp_path, site)]
    for name in ("validation", "test"):
        assert_frame_equal(*tables[name], check_exact=True)
    sampled, whole = tables["train"]
    assert 0.25 < sampled.height / whole.height < 0.35
    assert sampled.get_column("is_fraud").sum() == whole.get_column("is_fraud").sum()
    assert sampled.select(pl.col("weight").sum()).item() == pytest.approx(whole.height, rel=0.03)
    kept = whole.filter(pl.col("transaction_id").is_in(sampled.get_column("transaction_id").implode()))
    assert_frame_equal(sampled.select(NAMES), kept.select(NAMES), check_exact=True)
    assert (history_before(tmp_path, FIRST) / "manifest.json").read_text() == (
        history_before(site, FIRST) / "manifest.json"
    ).read_text()


def history_before(root: Path, day: date) -> Path:
    return root / f"history/{contract()}/before={day}"


def test_history_of_daily_runs_equals_that_of_training(site: Path):
    """Otherwise a day's features would depend on when the last training ran."""
    end = FIRST + timedelta(days=10)
    run_workflow("training", end, site / "data", site / "trained", until="feature-engineering")
    daily, trained = (history_before(root, end) for root in (site, site / "trained"))
    for table in ("events", "counts", "frauds"):
        assert_frame_equal(pl.read_parquet(daily / f"{table}.parquet"), pl.read_parquet(trained / f"{table}.parquet"))


def test_rerun_publishes_the_same_history(site: Path):
    """Equal content is a no-op: a rerun must cost nothing."""
    run_workflow("daily", FIRST + timedelta(days=1), site / "data", site, until="feature-extraction")


def test_other_content_of_a_published_history_is_refused(site: Path, tmp_path: Path):
    """With two histories of one day, scores would depend on which came last."""
    simulate(tmp_path / "data", start=START, days=DAYS, customers=400, merchants=150, seed=4)
    with pytest.raises(InputError, match=f"(?s)training-{FIRST}.*somebody-else"):
        run_workflow("training", FIRST, tmp_path / "data", site, until="feature-engineering", execution="somebody-else")


def test_history_of_another_day_is_refused(site: Path, tmp_path: Path):
    prefix = site / f"executions/daily-{FIRST + timedelta(days=1)}/ETL"
    with pytest.raises(InputError, match=f"before {FIRST}, expected {FIRST + timedelta(days=4)}"):
        run_stage(
            "feature-extraction",
            {
                "transactions": prefix / "transactions",
                "labels": prefix / "labels",
                "history": site / f"history/{contract()}/before={FIRST}",
            },
            {"features": tmp_path / "features", "history": tmp_path / "history"},
            as_of=FIRST + timedelta(days=5),
        )


def test_history_that_extends_a_replaced_one_is_stale(site: Path, tmp_path: Path):
    """Features computed from days that were delivered again since are wrong and look right."""
    root = tmp_path / "root"
    shutil.copytree(site / "history", root / "history")
    replaced, day = FIRST + timedelta(days=2), FIRST + timedelta(days=5)
    manifest = history_before(root, replaced) / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"content": "other", "execution": "correction"}
    manifest.write_text(json.dumps(changed))
    with pytest.raises(
        InputError, match=f"before={day}.* is stale: .* before {replaced}, which execution 'correction'"
    ):
        run_workflow("daily", day + timedelta(days=1), site / "data", root, until="feature-extraction")


def test_backfill_rebuilds_the_history_of_daily_runs(site: Path, tmp_path: Path):
    """After a gap, or after days were delivered again, daily runs continue from raw data."""
    end = FIRST + timedelta(days=10)
    run_workflow("backfill", end, site / "data", tmp_path)
    rebuilt, daily = (
        json.loads((history_before(root, end) / "manifest.json").read_text()) for root in (tmp_path, site)
    )
    assert rebuilt["content"] == daily["content"]
    assert rebuilt["origin"] == {}


def test_history_of_another_contract_is_refused_by_name(site: Path, tmp_path: Path):
    shutil.copytree(site / "history", tmp_path / "history")
    path = history_before(tmp_path, FIRST) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["contract"] = "other"
    manifest["definitions"]["velocity_1h"][3] = 7200
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"contract other, expected \w+: velocity_1h has window 7200, expected 3600"):
        run_workflow("daily", FIRST + timedelta(days=1), site / "data", tmp_path, until="feature-extraction")
