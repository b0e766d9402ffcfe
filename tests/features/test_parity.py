"""Training and the daily line compute the same features: the same bits for the same transaction."""

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
FIRST = START + timedelta(days=DAYS - 10)  # the first of ten days that run one after another


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which training ran as of FIRST, then ten days; raw data beside it, labels coming late."""
    root = tmp_path_factory.mktemp("line")
    simulate(root / "data", start=START, days=DAYS, customers=400, merchants=150, seed=3)
    run_line(root / "data", root, FIRST)
    return root


def run_line(data: Path, root: Path, first: date) -> None:
    """Training as of a day, then that day and nine more from the history that each leaves to the next."""
    run_workflow("training", first, data, root, until="feature-engineering")
    for day in days(first, 10):
        run_workflow("daily", day + timedelta(days=1), data, root, until="feature-extraction")


def assert_each_day_equals_training(data: Path, root: Path, first: date) -> None:
    """Against the rows that a training as of the day after the last computes for these days."""
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


def test_ten_days_over_history_equal_trainings_rows_bit_for_bit(line: Path):
    assert_each_day_equals_training(line / "data", line, FIRST)


@pytest.mark.slow
def test_ten_days_of_real_data_equal_trainings_rows_bit_for_bit(real_data: Path, tmp_path: Path):
    last = date.fromisoformat(max(path.name for path in (real_data / "raw").iterdir()))
    run_line(real_data, tmp_path, last - timedelta(days=9))
    assert_each_day_equals_training(real_data, tmp_path, last - timedelta(days=9))


def test_a_dataset_in_many_folders_gives_the_same_features_and_history(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Folders bound memory; how many there are must not be seen in any result."""
    monkeypatch.setattr("fraudline.etl.dataset.FOLDER_ROWS", 9_000)
    run_workflow("training", FIRST, line / "data", tmp_path, until="feature-engineering")
    execution = f"executions/training-{FIRST}"
    assert len(list((tmp_path / execution / "DataExtract/dataset").iterdir())) > 3
    for name in ("train", "validation", "test"):
        many, one = (
            pl.read_parquet(root / execution / f"Features/{name}/*.parquet").sort("transaction_id")
            for root in (tmp_path, line)
        )
        assert_frame_equal(many, one, check_exact=True)
    many, one = (json.loads((history_before(root, FIRST) / "manifest.json").read_text()) for root in (tmp_path, line))
    assert many == one


def test_sampling_leaves_rows_out_of_training_alone_and_changes_no_feature(line: Path, tmp_path: Path):
    """Windows see every row; validation and test are to look like what is scored."""
    run_workflow("training", FIRST, line / "data", tmp_path, until="feature-engineering", sample=0.3)
    tables = {}
    for name in ("train", "validation", "test"):
        path = f"executions/training-{FIRST}/Features/{name}/*.parquet"
        tables[name] = [pl.read_parquet(root / path).sort("transaction_id") for root in (tmp_path, line)]
    for name in ("validation", "test"):
        assert_frame_equal(*tables[name], check_exact=True)
    sampled, whole = tables["train"]
    assert 0.25 < sampled.height / whole.height < 0.35
    assert sampled.get_column("is_fraud").sum() == whole.get_column("is_fraud").sum()
    assert sampled.select(pl.col("weight").sum()).item() == pytest.approx(whole.height, rel=0.03)
    kept = whole.filter(pl.col("transaction_id").is_in(sampled.get_column("transaction_id").implode()))
    assert_frame_equal(sampled.select(NAMES), kept.select(NAMES), check_exact=True)
    assert (history_before(tmp_path, FIRST) / "manifest.json").read_text() == (
        history_before(line, FIRST) / "manifest.json"
    ).read_text()


def history_before(root: Path, day: date) -> Path:
    return root / f"history/{contract()}/before={day}"


def test_a_history_handed_on_day_by_day_equals_the_one_made_in_one_go(line: Path):
    """Otherwise a day's features would depend on when the last training ran."""
    end, again = FIRST + timedelta(days=10), line / "again"
    run_workflow("training", end, line / "data", again, until="feature-engineering")
    one, other = (history_before(root, end) for root in (line, again))
    for table in ("events", "counts", "frauds"):
        assert_frame_equal(pl.read_parquet(one / f"{table}.parquet"), pl.read_parquet(other / f"{table}.parquet"))


def test_a_day_run_again_publishes_the_same_history(line: Path):
    """Equal content is a no-op: a rerun must be free."""
    run_workflow("daily", FIRST + timedelta(days=1), line / "data", line, until="feature-extraction")


def test_other_content_under_a_published_address_is_refused_and_names_both(line: Path, tmp_path: Path):
    """Two histories of one day would make scores depend on which came last."""
    simulate(tmp_path / "data", start=START, days=DAYS, customers=400, merchants=150, seed=4)
    with pytest.raises(InputError, match=f"(?s)training-{FIRST}.*somebody-else"):
        run_workflow("training", FIRST, tmp_path / "data", line, until="feature-engineering", execution="somebody-else")


def test_a_history_of_another_day_is_refused(line: Path, tmp_path: Path):
    prefix = line / f"executions/daily-{FIRST + timedelta(days=1)}/ETL"
    with pytest.raises(InputError, match=f"before {FIRST}, expected {FIRST + timedelta(days=4)}"):
        run_stage(
            "feature-extraction",
            {
                "transactions": prefix / "transactions",
                "labels": prefix / "labels",
                "history": line / f"history/{contract()}/before={FIRST}",
            },
            {"features": tmp_path / "features", "history": tmp_path / "history"},
            as_of=FIRST + timedelta(days=5),
        )


def test_a_history_that_goes_back_to_a_replaced_one_is_stale(line: Path, tmp_path: Path):
    """What was computed from days that have been delivered anew since is wrong and looks right."""
    root = tmp_path / "root"
    shutil.copytree(line / "history", root / "history")
    replaced, day = FIRST + timedelta(days=2), FIRST + timedelta(days=5)
    manifest = history_before(root, replaced) / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"content": "other", "execution": "mended"}
    manifest.write_text(json.dumps(changed))
    with pytest.raises(InputError, match=f"before={day}.* is stale: .* before {replaced}, which execution 'mended'"):
        run_workflow("daily", day + timedelta(days=1), line / "data", root, until="feature-extraction")


def test_a_backfill_rebuilds_the_history_that_the_days_had_left(line: Path, tmp_path: Path):
    """After a gap, or after days were delivered anew, the line goes on from raw data."""
    end = FIRST + timedelta(days=10)
    run_workflow("backfill", end, line / "data", tmp_path)
    rebuilt, handed_on = (
        json.loads((history_before(root, end) / "manifest.json").read_text()) for root in (tmp_path, line)
    )
    assert rebuilt["content"] == handed_on["content"]
    assert rebuilt["origin"] == {}


def test_a_history_of_another_contract_is_refused_and_named(line: Path, tmp_path: Path):
    shutil.copytree(line / "history", tmp_path / "history")
    path = history_before(tmp_path, FIRST) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["contract"] = "other"
    manifest["definitions"]["velocity_1h"][3] = 7200
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"contract other, expected \w+: velocity_1h has window 7200, expected 3600"):
        run_workflow("daily", FIRST + timedelta(days=1), line / "data", tmp_path, until="feature-extraction")
