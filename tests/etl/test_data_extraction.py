"""Data extraction: valid rows are kept, broken rows are rejected with every reason, labels count once known."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import DATASET, REJECTED
from fraudline.etl.data_extraction import months_before
from tests.etl.deliveries import GOOD, deliver, extract


def test_valid_row_keeps_exact_cents(tmp_path: Path):
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
        ({"customer_id": "", "merchant": "", "amount": -1.0}, ["no-customer-id", "no-merchant", "negative-amount"]),
        ({"timestamp": None, "amount": float("inf")}, ["no-amount", "no-timestamp"]),
    ],
)
def test_broken_row_is_rejected_alone_with_all_reasons(tmp_path: Path, broken: dict[str, Any], reasons: list[str]):
    rows = [GOOD, GOOD | {"transaction_id": "t1"} | broken]
    dataset, rejected, summary = extract(tmp_path, deliver(tmp_path, rows))
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert rejected.get_column("reasons").to_list() == [reasons]
    assert summary["rejected"] == dict.fromkeys(reasons, 1)


def test_copies_collapse_and_contradictions_are_rejected(tmp_path: Path):
    """A copy is a redelivery; of two different rows with one id, none is known to be the true one."""
    rows = [GOOD, GOOD, GOOD | {"transaction_id": "t1"}, GOOD | {"transaction_id": "t1", "amount": 9.0}]
    dataset, rejected, summary = extract(tmp_path, deliver(tmp_path, rows))
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert rejected.get_column("transaction_id").to_list() == ["t1", "t1"]
    assert summary["copies_collapsed"] == 1


@pytest.mark.parametrize("day", [date(2026, 1, 9), date(2026, 1, 11)])
def test_copies_in_other_files_and_days_collapse(tmp_path: Path, day: date):
    """A redelivery by mistake does no harm: the row in its own day's folder is kept."""
    deliver(tmp_path, [GOOD])
    deliver(tmp_path, [GOOD | {"amount": "12.340"}], name="again.csv")
    inputs = deliver(tmp_path, [GOOD], day=day)
    dataset, rejected, summary = extract(tmp_path, inputs)
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert not rejected.height
    assert summary["copies_collapsed"] == 2


def test_contradiction_across_days_is_rejected(tmp_path: Path):
    """Rows of two customers may be in different folders of the dataset, so ids are compared before."""
    other = GOOD | {"customer_id": "c2", "timestamp": datetime(2026, 1, 11, 12, tzinfo=UTC)}
    deliver(tmp_path, [GOOD, GOOD | {"transaction_id": "t1"}])
    labels = [{"transaction_id": "t1", "is_fraud": 0}]
    dataset, rejected, _ = extract(tmp_path, deliver(tmp_path, [other], labels, day=date(2026, 1, 11)))
    assert dataset.get_column("transaction_id").to_list() == ["t1"]
    assert rejected.get_column("reasons").to_list() == [["contradicting-id"]] * 2


def test_rows_without_an_id_are_not_copies(tmp_path: Path):
    rows = [GOOD, *[GOOD | {"transaction_id": None}] * 3]
    _, rejected, summary = extract(tmp_path, deliver(tmp_path, rows))
    assert (rejected.height, summary["copies_collapsed"]) == (3, 0)


def test_too_many_broken_rows_fail_the_stage_with_advice(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD, GOOD | {"transaction_id": "t1", "amount": -1.0}])
    with pytest.raises(InputError, match=r"1 of 2 rows are broken .negative-amount 1.*--max-rejected 1 a run succeeds"):
        extract(tmp_path, inputs, max_rejected=0.05)


def test_delivery_without_valid_rows_can_be_inspected(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD | {"amount": -1.0}])
    dataset, rejected, summary = extract(tmp_path, inputs, max_rejected=1)
    assert (dataset.height, rejected.height, summary["record_count"]) == (0, 1, 0)
    assert dataset.schema == pl.Schema(DATASET)


def test_label_is_joined_from_the_day_it_is_known(tmp_path: Path):
    """Without labeled_at a label is known when the delay has passed; with it, from the next midnight."""
    inputs = deliver(tmp_path, [GOOD], [{"transaction_id": "t0", "is_fraud": 1}])
    assert extract(tmp_path, inputs, as_of="2026-01-17")[0].get_column("is_fraud").to_list() == [None]
    assert extract(tmp_path, inputs, as_of="2026-01-18")[0].get_column("is_fraud").to_list() == [1]
    late = [{"transaction_id": "t0", "is_fraud": 1, "labeled_at": datetime(2026, 1, 29, 23, 59, tzinfo=UTC)}]
    inputs = deliver(tmp_path, [GOOD], late)
    assert extract(tmp_path, inputs, as_of="2026-01-29")[0].get_column("is_fraud").to_list() == [None]
    assert extract(tmp_path, inputs, as_of="2026-01-30")[0].get_column("is_fraud").to_list() == [1]


def test_later_label_does_not_hide_an_earlier_one(tmp_path: Path):
    """A dataset as of a day is the same whenever it is extracted."""
    first = {"transaction_id": "t0", "is_fraud": 0, "labeled_at": datetime(2026, 1, 12, tzinfo=UTC)}
    later = first | {"is_fraud": 1, "labeled_at": datetime(2026, 1, 20, tzinfo=UTC)}
    inputs = deliver(tmp_path, [GOOD], [later, first])
    assert extract(tmp_path, inputs, as_of="2026-01-20")[0].get_column("is_fraud").to_list() == [0]
    assert extract(tmp_path, inputs, as_of="2026-01-21")[0].get_column("is_fraud").to_list() == [1]


def test_fraud_wins_among_simultaneous_labels(tmp_path: Path):
    time = datetime(2026, 1, 12, tzinfo=UTC)
    labels = [{"transaction_id": "t0", "is_fraud": flag, "labeled_at": time} for flag in (0, 1, 0)]
    assert extract(tmp_path, deliver(tmp_path, [GOOD], labels))[0].get_column("is_fraud").to_list() == [1]


def test_only_rows_before_as_of_are_visible(tmp_path: Path):
    deliver(tmp_path, [GOOD])
    later = GOOD | {"transaction_id": "t1", "timestamp": datetime(2026, 1, 11, 0, tzinfo=UTC)}
    inputs = deliver(tmp_path, [later], day=date(2026, 1, 11))
    assert extract(tmp_path, inputs, as_of="2026-01-11")[0].get_column("transaction_id").to_list() == ["t0"]


def test_source_columns_are_mapped(tmp_path: Path):
    row = {("TERMINAL_ID" if name == "merchant" else name): value for name, value in GOOD.items()}
    inputs = deliver(tmp_path, [row])
    with pytest.raises(
        InputError, match=r"2026-01-10/transactions.parquet has no column 'merchant'.*--column merchant="
    ):
        extract(tmp_path, inputs)
    dataset, _, _ = extract(tmp_path, inputs, column="merchant=TERMINAL_ID")
    assert dataset.get_column("merchant").to_list() == ["m1"]


def test_optional_column_without_values_counts_as_absent(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD | {"merchant_category": None, "latitude": None}])
    dataset, _, _ = extract(tmp_path, inputs)
    assert dataset.schema == pl.Schema(DATASET)
    assert dataset.select("merchant_category", "latitude").rows() == [(None, None)]


def test_wrong_type_error_names_expected_and_actual_type(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD])
    path = inputs["raw"] / "2026-01-10" / "transactions.parquet"
    pl.DataFrame([GOOD | {"amount": "12.34"}]).write_parquet(path)
    with pytest.raises(InputError, match=r"column 'amount' must be a number, got String"):
        extract(tmp_path, inputs)


def test_empty_delivery_error_names_the_days(tmp_path: Path):
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
