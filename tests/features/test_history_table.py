"""The history table: features of single transactions equal the batch's, also with concurrent writers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.contract import contract
from fraudline.catalog.errors import InputError
from fraudline.catalog.features import NAMES
from fraudline.catalog.schema import TRANSACTIONS
from fraudline.features.history import History
from fraudline.features.history_table import HistoryTable, items_of
from fraudline.features.numpy_engine import features_of
from fraudline.simulate import simulate
from tests import tables
from tests.running import run_stage, run_workflow

START, DAYS = date(2026, 1, 1), 85
DAY = START + timedelta(days=DAYS - 1)
NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run training as of the last day and then that day, for its published history and the batch's features."""
    root = tmp_path_factory.mktemp("site")
    simulate(root / "data", start=START, days=DAYS, customers=300, merchants=150, seed=5)
    run_workflow("training", DAY, root / "data", root, until="feature-engineering")
    run_workflow("daily", NEXT, root / "data", root, until="feature-extraction")
    return root


@pytest.fixture
def table(aws: None, request: pytest.FixtureRequest) -> str:
    return tables.create(f"history-{abs(hash(request.node.name))}")


def history(site: Path, day: date) -> Path:
    return site / f"history/{contract()}/before={day}"


def publish(site: Path, table: str, day: date = DAY, **texts: Any) -> dict[str, Any]:
    return run_stage("publish-history", {"history": history(site, day)}, {}, as_of=day, table=table, **texts)


def transactions(site: Path) -> pl.DataFrame:
    path = site / f"executions/daily-{NEXT}/ETL/transactions/*.parquet"
    return pl.read_parquet(path).select(*TRANSACTIONS).sort("timestamp", "transaction_id")


def batch(site: Path) -> pl.DataFrame:
    path = site / f"executions/daily-{NEXT}/Features/features/*.parquet"
    return pl.read_parquet(path).sort("timestamp", "transaction_id").select("transaction_id", *NAMES)


@pytest.mark.integration
def test_features_one_by_one_equal_the_batch(site: Path, table: str):
    """A model must score the features that it was trained on."""
    publish(site, table)
    history_table, served = HistoryTable(table), []
    expected = batch(site).head(120)
    for row in transactions(site).head(120).iter_rows(named=True):
        alone = pl.DataFrame([row], schema=dict(TRANSACTIONS))
        served.append({"transaction_id": row["transaction_id"], **features_of(row, history_table.read(alone), 7)})
        assert history_table.append(alone)
    assert_frame_equal(pl.DataFrame(served, schema=expected.schema), expected, check_exact=True)


@pytest.mark.integration
def test_day_from_the_table_equals_the_day_from_files(site: Path, table: str, tmp_path: Path):
    """Transactions of the day that were appended meanwhile are not counted twice."""
    publish(site, table)
    for number in range(10):
        HistoryTable(table).append(transactions(site)[number])
    prefix = site / f"executions/daily-{NEXT}/ETL"
    inputs = {"transactions": prefix / "transactions", "labels": prefix / "labels", "history": table}
    outputs = {"features": tmp_path / "features", "history": tmp_path / "history"}
    summary = run_stage("feature-extraction", inputs, outputs, as_of=NEXT)
    served = pl.read_parquet(tmp_path / "features/*.parquet").sort("timestamp", "transaction_id")
    assert_frame_equal(served.select("transaction_id", *NAMES), batch(site), check_exact=True)
    assert summary["history"] is None
    assert not list((tmp_path / "history").iterdir())


def test_history_is_loaded_once(site: Path, table: str):
    """A rerun must cost nothing."""
    assert publish(site, table)["record_count"] > 0
    assert publish(site, table)["record_count"] == 0


def test_earlier_history_does_not_replace_a_later_one(site: Path, table: str):
    """A redriven execution of last week must not replace this week's history."""
    publish(site, table, NEXT)
    with pytest.raises(InputError, match=f"holds the history before {NEXT} and this one is before {DAY}"):
        publish(site, table, DAY)
    assert publish(site, table, DAY, replace="true")["record_count"] > 0


def test_appended_transaction_counts_once_after_publishing(site: Path, table: str):
    """Serving continues during a load; a transaction that was appended and loaded must not count twice."""
    publish(site, table)
    history_table, day = HistoryTable(table), transactions(site)
    customer = day.get_column("customer_id").mode().first()
    own = day.filter(pl.col("customer_id") == customer)
    for number in range(own.height):
        history_table.append(own[number])
    today = pl.col("second") >= (DAY - date(1970, 1, 1)).days * 86_400
    appended = history_table.read(own).events.filter(today).sort(pl.all())
    assert appended.height == own.height
    publish(site, table, NEXT)
    assert_frame_equal(history_table.read(own).events.filter(today).sort(pl.all()), appended)
    assert not history_table.append(own[0])


def test_transaction_is_appended_once(site: Path, table: str):
    """An event may be delivered twice."""
    history_table, transaction = HistoryTable(table), transactions(site)[0]
    assert history_table.append(transaction)
    assert not history_table.append(transaction)
    assert history_table.read(transaction).events.height == 1


def test_concurrent_appends_lose_nothing(site: Path, table: str):
    """Two instances may serve two events of one card at the same moment."""
    day = transactions(site).head(12).with_columns(customer_id=pl.lit("one"))
    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(lambda number: HistoryTable(table).append(day[number]), range(day.height)))
    assert HistoryTable(table).read(day[0]).events.height == day.height


def test_table_without_the_history_of_the_day_is_refused(site: Path, table: str, tmp_path: Path):
    prefix = site / f"executions/daily-{NEXT}/ETL"
    inputs = {"transactions": prefix / "transactions", "labels": prefix / "labels", "history": table}
    outputs = {"features": tmp_path / "features", "history": tmp_path / "history"}
    with pytest.raises(InputError, match=f"has before unknown for feature contract .*, expected {DAY}; run publish-h"):
        run_stage("feature-extraction", inputs, outputs, as_of=NEXT)


def test_item_fits_into_one_read_unit(site: Path):
    """DynamoDB bills a strongly consistent read by units of 4 KB; a larger item costs more and takes longer."""
    tables = (pl.read_parquet(history(site, NEXT) / f"{name}.parquet") for name in ("events", "counts", "frauds"))
    sizes = sorted(len(item["packed"]["B"]) for item in items_of(History(*tables), NEXT))
    assert sizes[int(0.99 * len(sizes))] < 4096 - 200  # the key, the version and the time to live
