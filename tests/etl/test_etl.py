"""The day's transactions, and what is known of the days before."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from fraudline.catalog.schema import LABELS, TRANSACTIONS
from tests.etl.deliveries import DAY, GOOD, deliver
from tests.running import run_stage

BEFORE = DAY - timedelta(days=8)
KNOWN = GOOD | {"transaction_id": "k0", "timestamp": datetime(2026, 1, 2, 12, tzinfo=UTC)}


def run_day(folder: Path, inputs: dict[str, Path]) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """As of the morning after DAY: transactions, labels, summary."""
    outputs = {name: folder / "out" / name for name in ("transactions", "labels", "rejected", "summary")}
    summary = run_stage("etl", inputs, outputs, as_of=DAY + timedelta(days=1), max_rejected=1)
    tables = [pl.read_parquet(outputs[name] / "*.parquet") for name in ("transactions", "labels")]
    return tables[0], tables[1], summary


def label(*ids: str) -> list[dict[str, Any]]:
    return [{"transaction_id": id_, "is_fraud": 1} for id_ in ids]


def test_a_known_label_comes_with_its_merchant_and_day(tmp_path: Path):
    """The day's own labels are not known yet."""
    deliver(tmp_path, [KNOWN], day=BEFORE)
    transactions, labels, summary = run_day(tmp_path, deliver(tmp_path, [GOOD], label("k0", "t0", "nowhere")))
    assert transactions.schema == pl.Schema(TRANSACTIONS)
    assert transactions.get_column("transaction_id").to_list() == ["t0"]
    assert labels.schema == pl.Schema(LABELS)
    day = (BEFORE - date(1970, 1, 1)).days
    assert labels.rows() == [("k0", "m1", None, day, day + 7, 1)]
    assert summary["labels_known"] == 1


def test_what_was_rejected_then_lends_no_label_now(tmp_path: Path):
    """The model never saw that row; its merchant's fraud count must not either."""
    broken = [KNOWN | {"transaction_id": "k1", "amount": -1.0}, KNOWN | {"transaction_id": "k2"}]
    deliver(tmp_path, [KNOWN, *broken, KNOWN | {"transaction_id": "k2", "amount": 9.0}], day=BEFORE)
    _, labels, summary = run_day(tmp_path, deliver(tmp_path, [GOOD], label("k0", "k1", "k2")))
    assert labels.get_column("transaction_id").to_list() == ["k0"]
    assert summary["rejected"] == {}


def test_an_id_that_an_earlier_day_gave_to_another_row_is_rejected(tmp_path: Path):
    deliver(tmp_path, [KNOWN | {"transaction_id": "t1"}], day=BEFORE)
    rows = [GOOD, GOOD | {"transaction_id": "t1"}]
    transactions, _, summary = run_day(tmp_path, deliver(tmp_path, rows, label("t0")))
    assert transactions.get_column("transaction_id").to_list() == ["t0"]
    assert summary["rejected"] == {"contradicting-id": 1}


def test_a_day_may_come_in_another_format_than_the_days_before(tmp_path: Path):
    deliver(tmp_path, [KNOWN], day=BEFORE)
    inputs = deliver(tmp_path, [GOOD], label("k0"), name="transactions.csv.gz")
    transactions, labels, _ = run_day(tmp_path, inputs)
    assert (transactions.item(0, "cents"), labels.height) == (1234, 1)
