"""The history as a table: one transaction's features from it equal those of the batch, whoever appends at the time."""

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
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training as of the last day, and that day; its history is published, its features are the batch's."""
    root = tmp_path_factory.mktemp("line")
    simulate(root / "data", start=START, days=DAYS, customers=300, merchants=150, seed=5)
    run_workflow("training", DAY, root / "data", root, until="feature-engineering")
    run_workflow("daily", NEXT, root / "data", root, until="feature-extraction")
    return root


@pytest.fixture
def table(aws: None, request: pytest.FixtureRequest) -> str:
    return tables.create(f"history-{abs(hash(request.node.name))}")


def history(line: Path, day: date) -> Path:
    return line / f"history/{contract()}/before={day}"


def publish(line: Path, table: str, day: date = DAY, **texts: Any) -> dict[str, Any]:
    return run_stage("publish-history", {"history": history(line, day)}, {}, as_of=day, table=table, **texts)


def transactions(line: Path) -> pl.DataFrame:
    path = line / f"executions/daily-{NEXT}/ETL/transactions/*.parquet"
    return pl.read_parquet(path).select(*TRANSACTIONS).sort("timestamp", "transaction_id")


def batch(line: Path) -> pl.DataFrame:
    path = line / f"executions/daily-{NEXT}/Features/features/*.parquet"
    return pl.read_parquet(path).sort("timestamp", "transaction_id").select("transaction_id", *NAMES)


def test_one_by_one_in_their_order_features_equal_the_batchs(line: Path, table: str):
    """What a model learnt from is what it is asked about."""
    publish(line, table)
    held, served = HistoryTable(table), []
    expected = batch(line).head(120)
    for row in transactions(line).head(120).iter_rows(named=True):
        alone = pl.DataFrame([row], schema=dict(TRANSACTIONS))
        served.append({"transaction_id": row["transaction_id"], **features_of(row, held.read(alone), 7)})
        assert held.append(alone)
    assert_frame_equal(pl.DataFrame(served, schema=expected.schema), expected, check_exact=True)


def test_a_day_from_the_table_equals_the_day_from_files(line: Path, table: str, tmp_path: Path):
    """And what the day has appended of itself meanwhile is not counted twice."""
    publish(line, table)
    for number in range(10):
        HistoryTable(table).append(transactions(line)[number])
    prefix = line / f"executions/daily-{NEXT}/ETL"
    inputs = {"transactions": prefix / "transactions", "labels": prefix / "labels", "history": table}
    outputs = {"features": tmp_path / "features", "history": tmp_path / "history"}
    summary = run_stage("feature-extraction", inputs, outputs, as_of=NEXT)
    served = pl.read_parquet(tmp_path / "features/*.parquet").sort("timestamp", "transaction_id")
    assert_frame_equal(served.select("transaction_id", *NAMES), batch(line), check_exact=True)
    assert summary["history"] is None
    assert not list((tmp_path / "history").iterdir())


def test_a_loaded_history_is_loaded_once(line: Path, table: str):
    """A rerun must be free, and a load that was killed must not be taken for a whole one."""
    assert publish(line, table)["record_count"] > 0
    assert publish(line, table)["record_count"] == 0


def test_an_earlier_history_does_not_replace_a_later_one(line: Path, table: str):
    """A redriven execution of last week must not take this week's history away."""
    publish(line, table, NEXT)
    with pytest.raises(InputError, match=f"holds the history before {NEXT} and this one is before {DAY}"):
        publish(line, table, DAY)
    assert publish(line, table, DAY, replace="true")["record_count"] > 0


def test_what_was_appended_is_there_once_after_the_day_is_published(line: Path, table: str):
    """Whoever serves does not stop for the loader; a transaction that both have must not be counted twice."""
    publish(line, table)
    held, day = HistoryTable(table), transactions(line)
    customer = day.get_column("customer_id").mode().first()
    own = day.filter(pl.col("customer_id") == customer)
    for number in range(own.height):
        held.append(own[number])
    today = pl.col("second") >= (DAY - date(1970, 1, 1)).days * 86_400
    before = held.read(own).events.filter(today).sort(pl.all())
    assert before.height == own.height
    publish(line, table, NEXT)
    assert_frame_equal(held.read(own).events.filter(today).sort(pl.all()), before)
    assert not held.append(own[0])


def test_a_transaction_is_appended_once(line: Path, table: str):
    """An event that is delivered twice happened once."""
    held, one = HistoryTable(table), transactions(line)[0]
    assert held.append(one)
    assert not held.append(one)
    assert held.read(one).events.height == 1


def test_nothing_is_lost_where_many_append_at_once(line: Path, table: str):
    """Two events of a card may be served at the same moment by two who know nothing of each other."""
    day = transactions(line).head(12).with_columns(customer_id=pl.lit("one"))
    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(lambda number: HistoryTable(table).append(day[number]), range(day.height)))
    assert HistoryTable(table).read(day[0]).events.height == day.height


def test_a_table_without_the_days_history_is_refused(line: Path, table: str, tmp_path: Path):
    prefix = line / f"executions/daily-{NEXT}/ETL"
    inputs = {"transactions": prefix / "transactions", "labels": prefix / "labels", "history": table}
    outputs = {"features": tmp_path / "features", "history": tmp_path / "history"}
    with pytest.raises(InputError, match=f"has before unknown for feature contract .*, expected {DAY}; run publish-h"):
        run_stage("feature-extraction", inputs, outputs, as_of=NEXT)


def test_an_item_fits_into_one_read(line: Path):
    """A strongly consistent read of up to 4 KB is one unit; more would cost more and take longer."""
    tables = (pl.read_parquet(history(line, NEXT) / f"{name}.parquet") for name in ("events", "counts", "frauds"))
    sizes = sorted(len(item["packed"]["B"]) for item in items_of(History(*tables), NEXT))
    assert sizes[int(0.99 * len(sizes))] < 4096 - 200  # the key, the version and the time to live
