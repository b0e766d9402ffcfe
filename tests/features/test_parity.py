"""Training and the daily line compute the same features: the same bits for the same transaction."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.errors import InputError
from fraudline.features.definitions import NAMES, contract
from fraudline.features.history import history_of
from fraudline.features.numpy_engine import compute
from fraudline.schema import DATASET, TRANSACTIONS
from fraudline.simulate import simulate
from tests.running import days, run_stage, run_workflow

START, DAYS = date(2026, 1, 1), 95
FIRST = START + timedelta(days=DAYS - 10)  # the first of ten days that run one after another


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which training ran as of FIRST, then ten days; raw data beside it, labels coming late."""
    root = tmp_path_factory.mktemp("line")
    simulate(root / "data", start=START, days=DAYS, customers=400, merchants=150, seed=3)
    run_workflow("training", FIRST, root / "data", root, until="feature-engineering")
    for day in days(FIRST, 10):
        run_workflow("daily", day + timedelta(days=1), root / "data", root, until="feature-extraction")
    return root


def test_ten_days_over_history_equal_trainings_rows_bit_for_bit(line: Path):
    end = FIRST + timedelta(days=10)
    run_stage(
        "data-extraction",
        {"raw": line / "data/raw", "labels": line / "data/labeled"},
        {"dataset": line / "later/dataset", "rejected": line / "later/rejected"},
        as_of=end,
    )
    dataset = pl.read_parquet(line / "later/dataset/**/*.parquet").select(*DATASET)
    transactions = dataset.select(*TRANSACTIONS)
    labels = dataset.with_columns(pl.col("timestamp").dt.epoch("d").cast(pl.Int32).alias("day"))
    features = compute(transactions, history_of(transactions).learn(labels), 7)
    trained = pl.concat([transactions.select("transaction_id", "timestamp"), features], how="horizontal")
    for day in days(FIRST, 10):
        prefix = line / f"executions/daily-{day + timedelta(days=1)}/Features/features"
        daily = pl.read_parquet(prefix / "*.parquet").sort("transaction_id")
        rows = trained.filter(pl.col("timestamp").dt.date() == day).sort("transaction_id")
        assert daily.height > 100
        assert_frame_equal(daily.select(NAMES), rows.select(NAMES), check_exact=True)


def test_a_history_handed_on_day_by_day_equals_the_one_made_in_one_go(line: Path):
    """Otherwise a day's features would depend on when the last training ran."""
    end, again = FIRST + timedelta(days=10), line / "again"
    run_workflow("training", end, line / "data", again, until="feature-engineering")
    one, other = (root / f"history/{contract()}/before={end}" for root in (line, again))
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
