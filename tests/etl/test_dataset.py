"""The dataset's folders and weights depend on the rows alone, never on files or their order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudline.catalog.errors import InputError
from fraudline.etl import data_extraction, dataset
from tests.etl.deliveries import GOOD, deliver, extract

ROWS = [
    GOOD
    | {
        "transaction_id": f"t{number}",
        "customer_id": f"c{number % 13}",
        "amount": number / 100,
        "timestamp": GOOD["timestamp"] + timedelta(minutes=number % 17),
    }
    for number in range(200)
]
COPIES = [ROWS[number] for number in (3, 50, 50)]
CONTRADICTIONS = [ROWS[number] | {"customer_id": "c99"} for number in (7, 8)]
LABELS = [{"transaction_id": f"t{number}", "is_fraud": int(number % 20 == 0)} for number in range(150)]


@pytest.fixture
def many_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_extraction, "SLICE_ROWS", 30)
    monkeypatch.setattr(dataset, "FOLDER_ROWS", 40)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.mark.usefixtures("many_slices")
def test_folder_holds_all_rows_of_its_customers(tmp_path: Path):
    """Windows are computed folder by folder; CRC-32 is available to every engine that writes or reads a folder."""
    _, _, summary = extract(tmp_path, deliver(tmp_path, ROWS, LABELS))
    assert summary["folders"] == 5
    for path in (tmp_path / "dataset").rglob("*.parquet"):
        number = int(path.parent.name.removeprefix("customers="))
        assert path.name.startswith("part-")
        customers = pl.read_parquet(path).get_column("customer_id")
        assert {crc32(customer.encode()) % 5 for customer in customers} == {number}


@pytest.mark.usefixtures("many_slices")
def test_rerun_writes_the_same_bytes(tmp_path: Path):
    inputs = deliver(tmp_path, ROWS + COPIES + CONTRADICTIONS, LABELS)
    extract(tmp_path / "one", inputs, sample=0.5)
    extract(tmp_path / "two", inputs, sample=0.5)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


@pytest.mark.integration
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.permutations(ROWS + COPIES + CONTRADICTIONS),
    cuts=st.lists(st.integers(0, 205), max_size=4).map(sorted),
    slice_rows=st.sampled_from([30, 70, 10_000]),
)
def test_order_files_and_slices_do_not_matter(
    rows: Sequence[dict[str, Any]],
    cuts: list[int],
    slice_rows: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    whole = tmp_path_factory.mktemp("whole")
    inputs = deliver(whole, ROWS + COPIES + CONTRADICTIONS, LABELS)
    expected_table, expected_rejected, expected_summary = extract(whole, inputs, sample=0.3)
    folder = tmp_path_factory.mktemp("split")
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        if start < end:
            inputs = deliver(folder, rows[start:end], LABELS, name=f"{number}.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(data_extraction, "SLICE_ROWS", slice_rows)
        table, rejected, summary = extract(folder, inputs, sample=0.3)
    assert table.equals(expected_table)
    key = ("transaction_id", "customer_id")
    assert rejected.sort(key).equals(expected_rejected.sort(key))
    assert summary == expected_summary
    assert (expected_summary["copies_collapsed"], expected_summary["rejected"]) == (3, {"contradicting-id": 4})


def test_sampling_marks_rows_and_drops_none(tmp_path: Path):
    """Windows need every row; in training, a sampled row's weight stands for the rows that are left out."""
    inputs = deliver(tmp_path, ROWS, LABELS)
    table, _, summary = extract(tmp_path, inputs, sample=0.25)
    assert table.height == len(ROWS)
    for id_, fraud, weight in table.select("transaction_id", "is_fraud", "weight").iter_rows():
        sampled_weight = 4.0 if crc32(id_.encode()) < 0.25 * 2**32 else 0.0
        assert weight == (1.0 if fraud == 1 else sampled_weight)
    assert table.get_column("is_fraud").sum() == 8
    assert 0 < summary["sampled_count"] == table.filter(pl.col("weight") > 0).height < 100


def test_sampling_uses_the_standard_crc_32_of_the_id(tmp_path: Path):
    """Every engine must keep the same rows; 0xCBF43926 of 123456789 is CRC-32's published check value."""
    share = 0xCBF43926 / 2**32
    inputs = deliver(tmp_path, [GOOD, GOOD | {"transaction_id": "123456789"}])
    for sample, expected in ((share, 0.0), (share + 2**-32, 1 / (share + 2**-32))):
        table, _, _ = extract(tmp_path, inputs, sample=sample)
        assert table.filter(transaction_id="123456789").item(0, "weight") == pytest.approx(expected)


def test_every_weight_is_one_without_sampling(tmp_path: Path):
    table, _, summary = extract(tmp_path, deliver(tmp_path, ROWS, LABELS))
    assert table.get_column("weight").unique().to_list() == [1.0]
    assert summary["sampled_count"] == len(ROWS)


@pytest.mark.parametrize("sample", ["0", "1.5", "-0.1", "nan"])
def test_invalid_share_is_refused(sample: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"--sample.*expected a number above 0, up to 1"):
        extract(tmp_path, deliver(tmp_path, [GOOD]), sample=sample)
