"""The daily etl stage: the day's transactions, and the labels known of earlier days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from fraudline.catalog.schema import LABELS, TRANSACTIONS
from tests.etl.deliveries import DAY, GOOD, deliver
from tests.running import run_stage

EARLIER_DAY = DAY - timedelta(days=8)
EARLIER = GOOD | {"transaction_id": "k0", "timestamp": datetime(2026, 1, 2, 12, tzinfo=UTC)}


def run_day(folder: Path, inputs: dict[str, Path]) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Run etl as of the day after DAY; return transactions, labels and summary."""
    outputs = {name: folder / "out" / name for name in ("transactions", "labels", "rejected", "summary")}
    summary = run_stage("etl", inputs, outputs, as_of=DAY + timedelta(days=1), max_rejected=1)
    transactions, labels = (pl.read_parquet(outputs[name] / "*.parquet") for name in ("transactions", "labels"))
    return transactions, labels, summary


def frauds(*ids: str) -> list[dict[str, Any]]:
    """Return a fraud label for each id."""
    return [{"transaction_id": id_, "is_fraud": 1} for id_ in ids]


def test_known_label_has_its_merchant_and_day(tmp_path: Path):
    """A label of the day itself is not known yet."""
    deliver(tmp_path, [EARLIER], day=EARLIER_DAY)
    transactions, labels, summary = run_day(tmp_path, deliver(tmp_path, [GOOD], frauds("k0", "t0", "nowhere")))
    assert transactions.schema == pl.Schema(TRANSACTIONS)
    assert transactions.get_column("transaction_id").to_list() == ["t0"]
    assert labels.schema == pl.Schema(LABELS)
    day = (EARLIER_DAY - date(1970, 1, 1)).days
    assert labels.rows() == [("k0", "m1", None, day, day + 7, 1)]
    assert summary["labels_known"] == 1


def test_rejected_row_of_an_earlier_day_gets_no_label(tmp_path: Path):
    """The model was not trained on that row, so its merchant's fraud count must leave it out, too."""
    broken = [EARLIER | {"transaction_id": "k1", "amount": -1.0}, EARLIER | {"transaction_id": "k2"}]
    deliver(tmp_path, [EARLIER, *broken, EARLIER | {"transaction_id": "k2", "amount": 9.0}], day=EARLIER_DAY)
    _, labels, summary = run_day(tmp_path, deliver(tmp_path, [GOOD], frauds("k0", "k1", "k2")))
    assert labels.get_column("transaction_id").to_list() == ["k0"]
    assert summary["rejected"] == {}


def test_id_of_another_row_of_an_earlier_day_is_rejected(tmp_path: Path):
    deliver(tmp_path, [EARLIER | {"transaction_id": "t1"}], day=EARLIER_DAY)
    rows = [GOOD, GOOD | {"transaction_id": "t1"}]
    transactions, _, summary = run_day(tmp_path, deliver(tmp_path, rows, frauds("t0")))
    assert transactions.get_column("transaction_id").to_list() == ["t0"]
    assert summary["rejected"] == {"contradicting-id": 1}


def test_days_may_have_different_formats(tmp_path: Path):
    deliver(tmp_path, [EARLIER], day=EARLIER_DAY)
    inputs = deliver(tmp_path, [GOOD], frauds("k0"), name="transactions.csv.gz")
    transactions, labels, _ = run_day(tmp_path, inputs)
    assert (transactions.item(0, "cents"), labels.height) == (1234, 1)
