"""Extraction: good rows through, broken rows aside with every reason, labels only once known."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.errors import InputError
from fraudline.etl.data_extraction import months_before
from fraudline.schema import DATASET, REJECTED
from tests.running import run_stage

DAY = date(2026, 1, 10)
GOOD: dict[str, Any] = {
    "transaction_id": "t0",
    "customer_id": "c1",
    "merchant": "m1",
    "amount": 12.34,
    "timestamp": datetime(2026, 1, 10, 12, tzinfo=UTC),
}


def deliver(
    folder: Path, rows: list[dict[str, Any]], labels: list[dict[str, Any]] | None = None, day: date = DAY
) -> dict[str, Path]:
    raw, labeled = folder / "raw" / day.isoformat(), folder / "labeled"
    for place in (raw, labeled):
        place.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema_overrides={"amount": pl.Float64}).write_parquet(raw / "transactions.parquet")
    known = labels if labels is not None else [{"transaction_id": "t0", "is_fraud": 0}]
    pl.DataFrame(known).write_parquet(labeled / "fraud_labels.parquet")
    return {"raw": folder / "raw", "labels": labeled}


def extract(folder: Path, inputs: dict[str, Path], **texts: Any) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    outputs = {"dataset": folder / "dataset", "rejected": folder / "rejected", "summary": folder / "summary"}
    summary = run_stage("data-extraction", inputs, outputs, **({"as_of": "2026-02-01", "max_rejected": 1} | texts))
    tables = [pl.read_parquet(outputs[name] / "*.parquet") for name in ("dataset", "rejected")]
    return tables[0], tables[1], summary


def test_a_good_row_comes_through_with_exact_cents(tmp_path: Path):
    amounts = [0.0, 0.01, 0.29, 1.15, 57.16, 99_999.99]
    rows = [GOOD | {"transaction_id": f"t{i}", "amount": amount} for i, amount in enumerate(amounts)]
    dataset, rejected, _ = extract(tmp_path, deliver(tmp_path, rows))
    assert dataset.schema == pl.Schema(DATASET)
    assert dataset.get_column("cents").to_list() == [0, 1, 29, 115, 5716, 9_999_999]
    assert rejected.schema == pl.Schema(REJECTED)
    assert not rejected.height


@pytest.mark.parametrize(
    ("broken", "reasons"),
    [
        ({"amount": -0.01}, ["negative-amount"]),
        ({"amount": float("nan")}, ["no-amount"]),
        ({"amount": None}, ["no-amount"]),
        ({"amount": 1e9}, ["huge-amount"]),
        ({"transaction_id": None}, ["no-transaction-id"]),
        ({"timestamp": datetime(2026, 1, 11, tzinfo=UTC)}, ["other-day"]),
        ({"customer_id": None, "merchant": None}, ["no-customer-id", "no-merchant"]),
    ],
)
def test_a_broken_row_is_set_aside_with_all_its_reasons_and_takes_no_good_one_with_it(
    tmp_path: Path, broken: dict[str, Any], reasons: list[str]
):
    rows = [GOOD, GOOD | {"transaction_id": "t1"} | broken]
    dataset, rejected, summary = extract(tmp_path, deliver(tmp_path, rows))
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert rejected.get_column("reasons").to_list() == [reasons]
    assert summary["rejected"] == dict.fromkeys(reasons, 1)


def test_identical_copies_collapse_and_contradicting_ones_are_all_rejected(tmp_path: Path):
    """A copy is a redelivery; of two different rows under one id nobody can say which is true."""
    rows = [GOOD, GOOD, GOOD | {"transaction_id": "t1"}, GOOD | {"transaction_id": "t1", "amount": 9.0}]
    dataset, rejected, summary = extract(tmp_path, deliver(tmp_path, rows))
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert rejected.get_column("transaction_id").to_list() == ["t1", "t1"]
    assert summary["copies_collapsed"] == 1


def test_too_large_a_share_of_broken_rows_fails_the_stage(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD, GOOD | {"transaction_id": "t1", "amount": -1.0}])
    with pytest.raises(InputError, match=r"1 of 2 rows are broken .negative-amount 1."):
        extract(tmp_path, inputs, max_rejected=0.05)


def test_a_label_is_joined_once_it_is_known_and_not_before(tmp_path: Path):
    """Without labeled_at a label is known when the delay has passed; with it, before that day's midnight."""
    inputs = deliver(tmp_path, [GOOD], [{"transaction_id": "t0", "is_fraud": 1}])
    assert extract(tmp_path, inputs, as_of="2026-01-17")[0].get_column("is_fraud").to_list() == [None]
    assert extract(tmp_path, inputs, as_of="2026-01-18")[0].get_column("is_fraud").to_list() == [1]
    late = [{"transaction_id": "t0", "is_fraud": 1, "labeled_at": datetime(2026, 1, 29, 23, 59, tzinfo=UTC)}]
    inputs = deliver(tmp_path, [GOOD], late)
    assert extract(tmp_path, inputs, as_of="2026-01-29")[0].get_column("is_fraud").to_list() == [None]
    assert extract(tmp_path, inputs, as_of="2026-01-30")[0].get_column("is_fraud").to_list() == [1]


def test_only_rows_before_as_of_are_visible(tmp_path: Path):
    deliver(tmp_path, [GOOD])
    later = GOOD | {"transaction_id": "t1", "timestamp": datetime(2026, 1, 11, 0, tzinfo=UTC)}
    inputs = deliver(tmp_path, [later], day=date(2026, 1, 11))
    assert extract(tmp_path, inputs, as_of="2026-01-11")[0].get_column("transaction_id").to_list() == ["t0"]


def test_their_column_names_are_mapped(tmp_path: Path):
    theirs = {("TERMINAL_ID" if name == "merchant" else name): value for name, value in GOOD.items()}
    inputs = deliver(tmp_path, [theirs])
    with pytest.raises(
        InputError, match=r"2026-01-10/transactions.parquet has no column 'merchant'.*--column merchant="
    ):
        extract(tmp_path, inputs)
    dataset, _, _ = extract(tmp_path, inputs, column="merchant=TERMINAL_ID")
    assert dataset.get_column("merchant").to_list() == ["m1"]


def test_a_column_of_a_wrong_type_is_named_with_what_was_expected_and_what_came(tmp_path: Path):
    raw = deliver(tmp_path, [GOOD])
    path = raw["raw"] / "2026-01-10" / "transactions.parquet"
    pl.DataFrame([GOOD | {"amount": "12.34"}]).write_parquet(path)
    with pytest.raises(InputError, match=r"column 'amount' must be a number, got String"):
        extract(tmp_path, raw)


def test_a_truncated_file_is_named(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD])
    path = inputs["raw"] / "2026-01-10" / "transactions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"2026-01-10/transactions.parquet is not readable Parquet"):
        extract(tmp_path, inputs)


def test_an_empty_delivery_says_which_days_it_looked_for(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD])
    with pytest.raises(InputError, match=r"from 2020-08-01 to 2021-01-31"):
        extract(tmp_path, inputs, as_of="2021-02-01")


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2026, 8, 31), 6, date(2026, 2, 28)),
        (date(2024, 8, 31), 6, date(2024, 2, 29)),
        (date(2026, 1, 15), 1, date(2025, 12, 15)),
        (date(2026, 12, 1), 12, date(2025, 12, 1)),
    ],
)
def test_months_are_calendar_months(day: date, months: int, expected: date):
    assert months_before(day, months) == expected
