"""The dataset does not depend on the delivery's formats; a file that can't be parsed is named in the error."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from tests.etl.deliveries import DAY, GOOD, deliver, extract, write

FORMATS = ["parquet", "csv", "csv.gz", "jsonl", "ndjson", "jsonl.gz", "ndjson.gz"]
ROWS = [
    GOOD
    | {
        "transaction_id": f"00{number}",
        "customer_id": f"0{number % 3}",
        "amount": number / 100,
        "timestamp": GOOD["timestamp"] + timedelta(minutes=number),
        "merchant_category": None if number % 4 else "0815",
        "latitude": number / 7,
    }
    for number in range(1, 60)
]
LABELS = [
    {"transaction_id": f"00{number}", "is_fraud": number % 2, "labeled_at": datetime(2026, 1, 12, number, tzinfo=UTC)}
    for number in range(1, 20)
]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("parquet")
    return extract(folder, deliver(folder, ROWS, LABELS))[0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_dataset(suffix: str, expected: pl.DataFrame, tmp_path: Path):
    """Identifiers keep their leading zeros, and amounts their cents."""
    write(tmp_path / f"labeled/deep/labels.{suffix}", LABELS)
    inputs = deliver(tmp_path, ROWS, name=f"deeper/load=7/transactions.{suffix}")
    dataset, rejected, _ = extract(tmp_path, inputs)
    assert dataset.equals(expected)
    assert not rejected.height


def test_mixed_formats_and_order_give_the_same_dataset(expected: pl.DataFrame, tmp_path: Path):
    for number, suffix in enumerate(FORMATS):
        rows = ROWS[::-1][number :: len(FORMATS)]
        deliver(tmp_path, rows, name=f"part-{number}.{suffix}")
        write(tmp_path / f"labeled/part-{number}.{suffix}", LABELS[number :: len(FORMATS)])
    (tmp_path / "labeled/labels.parquet").unlink()
    (tmp_path / "raw" / DAY.isoformat() / "_SUCCESS").touch()
    inputs = {"raw": tmp_path / "raw", "labels": tmp_path / "labeled"}
    assert extract(tmp_path, inputs)[0].equals(expected)


def test_json_numbers_keep_their_digits(tmp_path: Path):
    line = '{"transaction_id": 7, "customer_id": 12345678901234567890, "merchant": 5, "amount": 12.10, '
    line += '"timestamp": "%s"}'
    inputs = deliver(tmp_path, [GOOD])
    (tmp_path / f"raw/{DAY}/more.jsonl").write_text(line % GOOD["timestamp"].isoformat() + "\n")
    dataset = extract(tmp_path, inputs)[0].filter(transaction_id="7")
    assert dataset.select("customer_id", "cents").rows() == [("12345678901234567890", 1210)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("broken", "reasons"),
    [
        ({"amount": "12;34"}, ["no-amount"]),
        ({"amount": "-1.00"}, ["negative-amount"]),
        ({"amount": "9" * 45}, ["huge-amount"]),
        ({"timestamp": "yesterday", "merchant": None}, ["no-merchant", "no-timestamp"]),
        ({"latitude": "north"}, ["unreadable-place"]),
    ],
)
def test_unreadable_text_rejects_its_row_and_not_the_file(
    suffix: str, broken: dict[str, Any], reasons: list[str], tmp_path: Path
):
    rows = [GOOD | {"latitude": 1.5}, GOOD | {"transaction_id": "t1", "latitude": 1.5} | broken]
    dataset, rejected, _ = extract(tmp_path, deliver(tmp_path, rows, name=f"transactions.{suffix}"))
    assert dataset.get_column("transaction_id").to_list() == ["t0"]
    assert rejected.select("transaction_id", "reasons").rows() == [("t1", reasons)]


def test_label_with_an_unreadable_time_is_rejected(tmp_path: Path):
    """Treated as a label without a time, it might count before it was known."""
    inputs = deliver(tmp_path, [GOOD])
    time = "2026-01-11T00:00:00Z"
    labels = [
        {"transaction_id": "t0", "is_fraud": "1", "labeled_at": "soon"},
        {"transaction_id": "t1", "is_fraud": "maybe", "labeled_at": time},
        {"transaction_id": "t2", "is_fraud": "3", "labeled_at": time},
    ]
    write(tmp_path / "labeled/more.csv", labels)
    dataset, rejected, summary = extract(tmp_path, inputs)
    assert dataset.get_column("is_fraud").to_list() == [0]
    assert set(rejected.get_column("channel")) == {"labels"}
    assert summary["rejected_labels"] == {"unreadable-labeled-at": 1, "no-label": 1, "label-not-0-or-1": 1}


def _cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def _garble(path: Path) -> None:
    """Overwrite a page of values; the footer, which is read first, stays intact."""
    content = bytearray(path.read_bytes())
    content[4:80] = b"\xff" * 76
    path.write_bytes(content)


def _append(path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes() + text)


BROKEN: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "cut Parquet": ("parquet", lambda path: _cut(path, 20), "Parquet"),
    "garbled Parquet": ("parquet", _garble, "Parquet"),
    "cut gzip": ("csv.gz", lambda path: _cut(path, 30), "CSV"),
    "not UTF-8": ("csv", lambda path: _append(path, b"t2,c1,\xff\xfe,1.0,2026-01-10T12:00:00\n"), "CSV"),
    "a line of too many fields": ("csv", lambda path: _append(path, b"t2,c1,m1,1,50,2026-01-10T12:00:00,x\n"), "CSV"),
    "empty CSV": ("csv", lambda path: path.write_bytes(b""), "CSV"),
    "no gzip": ("jsonl.gz", lambda path: path.write_bytes(gzip.compress(b'{"transaction_id": ')), "JSON lines"),
    "no JSON": ("jsonl", lambda path: _append(path, b'{"transaction_id": \n'), "JSON lines"),
    "no JSON, late": ("jsonl", lambda path: _append(path, path.read_bytes() * 200 + b"{{{\n"), "JSON lines"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_named(case: str, tmp_path: Path):
    """To fix a delivery of hundreds of files, one must know which file is broken."""
    suffix, break_file, format_ = BROKEN[case]
    deliver(tmp_path, [GOOD])
    row = GOOD | {"transaction_id": "t1", "extra": "a column that no stage reads"}
    inputs = deliver(tmp_path, [row], name=f"late.{suffix}")
    break_file(inputs["raw"] / DAY.isoformat() / f"late.{suffix}")
    message = rf"channel 'raw': {DAY}/late.{suffix} is not readable {format_} \(.*deliver it"
    with pytest.raises(InputError, match=message):
        extract(tmp_path, inputs)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_missing_column_is_reported_in_every_format(suffix: str, tmp_path: Path):
    inputs = deliver(tmp_path, [{"transaction_id": "t0", "amount": 1.0}], name=f"transactions.{suffix}")
    message = rf"{DAY}/transactions.{suffix} has no column 'customer_id'; it has transaction_id, amount"
    with pytest.raises(InputError, match=message):
        extract(tmp_path, inputs)


def test_empty_json_file_has_no_rows(tmp_path: Path):
    inputs = deliver(tmp_path, [GOOD])
    (tmp_path / f"raw/{DAY}/empty.jsonl").touch()
    assert extract(tmp_path, inputs)[2]["record_count"] == 1


def test_json_column_of_later_lines_is_read(tmp_path: Path):
    rows = [GOOD | {"transaction_id": f"t{number}"} for number in range(300)]
    rows[-1] = rows[-1] | {"merchant_category": "5411"}
    dataset, _, _ = extract(tmp_path, deliver(tmp_path, rows, name="transactions.jsonl"))
    assert dataset.get_column("merchant_category").drop_nulls().to_list() == ["5411"]
