"""One label file can't stop a stage, and a label may be an object or a JSON string that holds it."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from tests.etl.deliveries import GOOD, deliver, extract, write
from tests.etl.test_etl import run_day
from tests.etl.test_files import BROKEN

ROWS = [GOOD | {"transaction_id": f"t{number}"} for number in range(3)]
LABEL = {"transaction_id": "t1", "is_fraud": True, "labeled_at": "2026-01-12T10:00:00.123Z"}
ANSWER = "labeled/investigations/t1.jsonl"


def quoted(*labels: Any) -> str:
    """Return labels as Step Functions stores a text: as JSON strings, one in a line."""
    return "\n".join(json.dumps(json.dumps(label, separators=(",", ":"))) for label in labels)


def answer(folder: Path, text: str) -> dict[str, Path]:
    """Deliver transactions and the label of t0, and an investigation's answer with this text."""
    inputs = deliver(folder, ROWS)
    (folder / ANSWER).parent.mkdir(parents=True, exist_ok=True)
    (folder / ANSWER).write_text(text)
    return inputs


def known(dataset: pl.DataFrame) -> dict[str, int]:
    """Return the labels of a dataset by transaction."""
    return dict(dataset.drop_nulls("is_fraud").select("transaction_id", "is_fraud").rows())


@pytest.mark.parametrize("text", [json.dumps(LABEL), quoted(LABEL), f" {quoted(LABEL)}\n\n"])
def test_an_answer_is_read_as_an_object_and_as_a_string(text: str, tmp_path: Path):
    dataset, rejected, _ = extract(tmp_path, answer(tmp_path, text))
    assert known(dataset) == {"t0": 0, "t1": 1}
    assert not rejected.height


def test_an_answer_as_a_string_becomes_known_at_its_time(tmp_path: Path):
    inputs = answer(tmp_path, quoted(LABEL))
    assert known(extract(tmp_path, inputs, as_of="2026-01-12", label_delay_days=0)[0]) == {"t0": 0}


def test_quoted_labels_may_be_compressed_and_mixed_with_objects(tmp_path: Path):
    inputs = deliver(tmp_path, ROWS)
    text = quoted(LABEL) + "\n" + json.dumps({"transaction_id": "t2", "is_fraud": 0})
    (tmp_path / "labeled/more.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert known(extract(tmp_path, inputs)[0]) == {"t0": 0, "t1": 1, "t2": 0}


def test_a_quoted_label_without_a_key_is_rejected_as_a_row(tmp_path: Path):
    summary = extract(tmp_path, answer(tmp_path, quoted(LABEL, {"transaction_id": "t2"})))[2]
    assert summary["rejected_labels"] == {"no-label": 1}


UNREADABLE = {
    "no JSON": "yes, it was",
    "a cut object": '{"transaction_id": "t1", "is_fr',
    "a text": '"fraud"',
    "a quoted list": quoted(["t1"]),
    "a cut text": quoted(LABEL)[:-3],
    "a list": '["t1", true]',
    "other keys": '{"id": "t1", "fraud": true}',
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_answer_is_rejected_counted_and_named(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """At the strictest limit for rejected rows, too."""
    inputs = answer(tmp_path, UNREADABLE[case])
    with caplog.at_level(logging.WARNING):
        dataset, rejected, summary = extract(tmp_path, inputs, max_rejected=0)
    assert known(dataset) == {"t0": 0}
    assert summary["rejected_labels"] == {"unreadable-file": 1}
    row = ("labels", "investigations/t1.jsonl", ["unreadable-file"])
    assert rejected.select("channel", "transaction_id", "reasons").rows() == [row]
    assert "channel 'labels': investigations/t1.jsonl " in caplog.text


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_label_file_of_any_format_stops_no_stage(case: str, tmp_path: Path):
    suffix, break_file, _ = BROKEN[case]
    inputs = deliver(tmp_path, ROWS)
    file = tmp_path / f"labeled/late.{suffix}"
    write(file, [{"transaction_id": "t1", "is_fraud": 1, "note": "a column that no stage reads"}])
    break_file(file)
    dataset, _, summary = extract(tmp_path, inputs, max_rejected=0)
    assert (known(dataset), summary["rejected_labels"]) == ({"t0": 0}, {"unreadable-file": 1})


def test_the_daily_etl_goes_on_without_an_unreadable_answer(tmp_path: Path):
    _, labels, summary = run_day(tmp_path, answer(tmp_path, "yes, it was"))
    assert summary["rejected_labels"] == {"unreadable-file": 1}
    assert labels.height == 0  # none of this day's labels is known yet


def test_a_stage_stops_if_no_label_file_can_be_read(tmp_path: Path):
    inputs = answer(tmp_path, "yes, it was")
    (tmp_path / "labeled/labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"channel 'labels': investigations/t1.jsonl is not readable"):
        extract(tmp_path, inputs)
