"""The dataset's folders and weights: by what a row says, never by where or when it came."""

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
def test_a_folder_holds_all_rows_of_its_customers(tmp_path: Path):
    """Windows are computed folder by folder; the CRC-32 is in every language that may write or look up a folder."""
    _, _, summary = extract(tmp_path, deliver(tmp_path, ROWS, LABELS))
    assert summary["folders"] == 5
    for path in (tmp_path / "dataset").rglob("*.parquet"):
        number = int(path.parent.name.removeprefix("customers="))
        assert path.name.startswith("part-")
        assert {crc32(c.encode()) % 5 for c in pl.read_parquet(path).get_column("customer_id")} == {number}


@pytest.mark.usefixtures("many_slices")
def test_a_rerun_writes_the_same_bytes(tmp_path: Path):
    inputs = deliver(tmp_path, ROWS + COPIES + CONTRADICTIONS, LABELS)
    extract(tmp_path / "one", inputs, sample=0.5)
    extract(tmp_path / "two", inputs, sample=0.5)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.permutations(ROWS + COPIES + CONTRADICTIONS),
    cuts=st.lists(st.integers(0, 205), max_size=4).map(sorted),
    slice_rows=st.sampled_from([30, 70, 10_000]),
)
def test_order_files_and_slices_change_nothing(
    rows: Sequence[dict[str, Any]],
    cuts: list[int],
    slice_rows: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    whole = tmp_path_factory.mktemp("whole")
    expected = extract(whole, deliver(whole, ROWS + COPIES + CONTRADICTIONS, LABELS), sample=0.3)
    folder = tmp_path_factory.mktemp("split")
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        if start < end:
            inputs = deliver(folder, rows[start:end], LABELS, name=f"{number}.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(data_extraction, "SLICE_ROWS", slice_rows)
        found = extract(folder, inputs, sample=0.3)
    assert found[0].equals(expected[0])
    assert found[1].sort("transaction_id", "customer_id").equals(expected[1].sort("transaction_id", "customer_id"))
    assert found[2] == expected[2]
    assert (expected[2]["copies_collapsed"], expected[2]["rejected"]) == (3, {"contradicting-id": 4})


def test_sampling_marks_rows_and_drops_none(tmp_path: Path):
    """Windows see every row; those that are dropped from training afterwards are others' to stand for."""
    inputs = deliver(tmp_path, ROWS, LABELS)
    table, _, summary = extract(tmp_path, inputs, sample=0.25)
    assert table.height == len(ROWS)
    for id_, fraud, weight in table.select("transaction_id", "is_fraud", "weight").iter_rows():
        kept = crc32(id_.encode()) < 0.25 * 2**32
        assert weight == (1.0 if fraud == 1 else 4.0 if kept else 0.0)
    assert table.get_column("is_fraud").sum() == 8
    assert 0 < summary["sampled_count"] == table.filter(pl.col("weight") > 0).height < 100


def test_the_mark_is_the_standard_crc_32_of_the_id(tmp_path: Path):
    """0xCBF43926 of 123456789, as every implementation checks itself by: another engine keeps the same rows."""
    at = 0xCBF43926 / 2**32
    inputs = deliver(tmp_path, [GOOD, GOOD | {"transaction_id": "123456789"}])
    for sample, kept in ((at, 0.0), (at + 2**-32, 1 / (at + 2**-32))):
        weight = extract(tmp_path, inputs, sample=sample)[0].filter(transaction_id="123456789").item(0, "weight")
        assert weight == pytest.approx(kept)


def test_without_sampling_every_weight_is_one(tmp_path: Path):
    table, _, summary = extract(tmp_path, deliver(tmp_path, ROWS, LABELS))
    assert table.get_column("weight").unique().to_list() == [1.0]
    assert summary["sampled_count"] == len(ROWS)


@pytest.mark.parametrize("sample", ["0", "1.5", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(sample: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"--sample.*expected a number above 0, up to 1"):
        extract(tmp_path, deliver(tmp_path, [GOOD]), sample=sample)
