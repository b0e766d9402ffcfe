"""Bad input: the message names the file, the column, what was expected and what to do.

Neither message nor log holds a customer's data; a failed stage leaves no output; a broken row is rejected with its
reasons, and the good ones stay. In processes and in the images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.contract import contract
from fraudline.catalog.schema import LABELS, TRANSACTIONS
from tests.artifacts import write_artifact
from tests.entrypoints import jobs

DAY, AS_OF = date(2026, 1, 10), "2026-01-11"
CUSTOMER = "cust-4711"
GOOD = 60

Change = Callable[[Path], object]


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def launcher(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    """The folder /opt/ml with two good days."""
    for day in (DAY - timedelta(days=1), DAY):
        deliver(tmp_path, [row(day, number) for number in range(GOOD)], day)
    label(tmp_path, [(f"{day}-{number}", 0) for day in (DAY - timedelta(days=1), DAY) for number in range(GOOD)])
    return tmp_path


def row(day: date, number: int, **changes: Any) -> dict[str, Any]:
    time = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=number)
    values = {"customer_id": CUSTOMER, "merchant": "m1", "amount": 12.34, "timestamp": time}
    return {"transaction_id": f"{day}-{number}", **values, **changes}


def raw(ml: Path) -> Path:
    return ml / f"processing/input/raw/{DAY}/transactions.parquet"


def deliver(ml: Path, rows: list[dict[str, Any]], day: date = DAY, **overrides: Any) -> None:
    path = ml / f"processing/input/raw/{day}/transactions.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema_overrides=overrides).write_parquet(path)


def label(ml: Path, labels: list[tuple[str | None, int | None]]) -> None:
    path = ml / "processing/input/labels/labels.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(labels, schema={"transaction_id": pl.String, "is_fraud": pl.Int64}, orient="row").write_parquet(path)


def day_with(*rows: dict[str, Any]) -> Change:
    return lambda ml: deliver(ml, [row(DAY, number) for number in range(GOOD)] + list(rows))


def without(column: str) -> Change:
    return lambda ml: pl.read_parquet(raw(ml)).drop(column).write_parquet(raw(ml))


def truncated(ml: Path) -> None:
    raw(ml).write_bytes(raw(ml).read_bytes()[:-100])


def removed(name: str) -> Change:
    def remove(ml: Path) -> None:
        for path in sorted((ml / "processing/input" / name).rglob("*.parquet")):
            path.unlink()

    return remove


def amounts_as_text(ml: Path) -> None:
    pl.read_parquet(raw(ml)).with_columns(pl.col("amount").cast(pl.String)).write_parquet(raw(ml))


def assert_refused(ended: jobs.Result, message: str) -> None:
    assert ended.code == 2, ended.text
    assert re.search(message, ended.message), ended.message
    assert ended.log[-1]["level"] == "ERROR"
    assert ended.log[-1]["message"] == ended.message
    assert CUSTOMER not in ended.text + ended.message
    assert ended.outputs == []


REFUSED: dict[str, tuple[Change, str]] = {
    "missing channel": (
        removed("raw"),
        r"channel 'raw': nothing at '.*/raw'; expected raw transactions: .*--input raw=",
    ),
    "missing labels": (removed("labels"), r"channel 'labels': nothing at '.*'; expected fraud labels"),
    "empty day": (
        removed(f"raw/{DAY}"),
        rf"channel 'raw': {DAY} has no valid transaction; check that the day was deliv",
    ),
    "day without rows": (
        lambda ml: pl.read_parquet(raw(ml)).clear().write_parquet(raw(ml)),
        rf"channel 'raw': {DAY} has no valid transaction; check that the day was delivered in full",
    ),
    "missing column": (
        without("merchant"),
        rf"channel 'raw': {DAY}/transactions.parquet has no column 'merchant'; it has .*; map .* --column merchant=",
    ),
    "wrong type": (
        amounts_as_text,
        rf"channel 'raw': {DAY}/transactions.parquet: column 'amount' must be a number, got String; "
        "write it as a number,",
    ),
    "truncated": (truncated, rf"channel 'raw': {DAY}/transactions.parquet is not readable Parquet \(.*\); deliver it"),
    "too many broken": (
        day_with(*(row(DAY, 100 + number, amount=-1.0) for number in range(20))),
        r"channel 'raw': 20 of 80 rows are broken \(negative-amount 20\), more than the 5.0% allowed; fix the delivery",
    ),
    "too many broken labels": (
        lambda ml: label(ml, [(f"{DAY}-{number}", 7) for number in range(GOOD)]),
        r"channel 'labels': 60 of 60 rows are broken \(label-not-0-or-1 60\), more than the 5.0% allowed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unreadable_input_is_refused_in_words(case: str, launcher: str, ml: Path):
    change, message = REFUSED[case]
    change(ml)
    assert_refused(jobs.run(launcher, "etl", ml, "--as-of", AS_OF), message)


REJECTED_ROWS: dict[str, tuple[Change, dict[str, int]]] = {
    "negative amount": (day_with(row(DAY, 99, amount=-0.01)), {"negative-amount": 1}),
    "amount that is no number": (day_with(row(DAY, 99, amount=float("nan"))), {"no-amount": 1}),
    "outside the day": (day_with(row(DAY, 99, timestamp=datetime(2026, 1, 11, tzinfo=UTC))), {"other-day": 1}),
    "an id twice, and once otherwise": (
        day_with(row(DAY, 97), row(DAY, 97), row(DAY, 98), row(DAY, 98, amount=1.0)),
        {"contradicting-id": 2},
    ),
}


@pytest.mark.parametrize("case", REJECTED_ROWS)
def test_a_broken_row_is_rejected_and_the_good_ones_stay(case: str, launcher: str, ml: Path):
    change, reasons = REJECTED_ROWS[case]
    change(ml)
    ended = jobs.run(launcher, "etl", ml, "--as-of", AS_OF)
    assert ended.code == 0, ended.text
    kept = pl.read_parquet(ml / "processing/output/transactions/*.parquet").get_column("transaction_id")
    assert set(kept) >= {f"{DAY}-{number}" for number in range(GOOD)}
    rejected = pl.read_parquet(ml / "processing/output/rejected/*.parquet")
    assert set(rejected.get_column("channel")) == {"raw"}
    assert rejected.get_column("reasons").explode().value_counts().to_dict(as_series=False)["count"] == [
        *reasons.values()
    ]
    assert ended.summary()["rejected"] == reasons
    assert CUSTOMER not in ended.text


def test_broken_labels_are_rejected_and_orphans_counted(launcher: str, ml: Path):
    day = DAY - timedelta(days=1)
    label(ml, [(f"{day}-{number}", 0) for number in range(GOOD)] + [(f"{day}-1", 2), (None, 1), ("nowhere", 1)])
    ended = jobs.run(launcher, "data-extraction", ml, "--as-of", "2026-02-01")
    assert ended.code == 0, ended.text
    assert ended.summary()["rejected_labels"] == {"label-not-0-or-1": 1, "no-transaction-id": 1}
    assert ended.summary()["labels_without_transaction"] == 1
    assert ended.summary()["labelled_count"] == GOOD


def test_labels_without_any_transaction_are_refused(launcher: str, ml: Path):
    """Where two systems name transactions differently, a model would be trained on no fraud at all."""
    label(ml, [(f"OTHER-{number}", 1) for number in range(5)])
    message = (
        r"channel 'labels': none of 5 labels belongs to a transaction from .*; check that raw and labels use the same"
    )
    assert_refused(jobs.run(launcher, "data-extraction", ml, "--as-of", "2026-02-01"), message)


@pytest.mark.integration
def test_a_model_of_another_contract_is_refused(launcher: str, tmp_path: Path):
    """Columns of the same names may mean something else."""
    folder = tmp_path / "processing/input/features"
    folder.mkdir(parents=True)
    names = ["amount", "velocity_1h", "hour_of_day"]
    midnight = datetime(2026, 1, 10, tzinfo=UTC)
    keys = {
        "transaction_id": ["t1"],
        "customer_id": [CUSTOMER],
        "timestamp": pl.Series([midnight], dtype=TRANSACTIONS["timestamp"]),
    }
    values = {name: pl.Series([1.0], dtype=pl.Float32) for name in names}
    pl.DataFrame(keys | values).write_parquet(folder / "part-0.parquet")
    (folder / "contract.json").write_text(json.dumps({"contract": "other", "definitions": {}, "features": names}))
    (tmp_path / "processing/input/model").mkdir()
    write_artifact(tmp_path / "processing/input/model")
    ended = jobs.run(launcher, "fraud-scoring", tmp_path, "--as-of", AS_OF)
    assert_refused(
        ended,
        "channel 'features': it does not match model v2026-02-01: "
        "feature contract other, expected abc: amount is missing; ",
    )


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (None, rf"channel 'history': there is none before {DAY} at '.*', a gap in the days; run the days before {DAY}"),
        (
            "2026-01-08",
            rf"channel 'history': '.*' has before 2026-01-08, expected {DAY}; run the days before {DAY} in ",
        ),
    ],
    ids=["none", "of another day"],
)
def test_a_gap_in_the_history_is_refused(before: str | None, message: str, launcher: str, tmp_path: Path):
    """Features over an incomplete history would be wrong and look right."""
    inputs = tmp_path / "processing/input"
    for name, schema in (("transactions", TRANSACTIONS), ("labels", LABELS)):
        (inputs / name).mkdir(parents=True)
        pl.DataFrame(schema=dict(schema)).write_parquet(inputs / name / "part-0.parquet")
    if before:
        (inputs / "history").mkdir()
        manifest = {"contract": contract(), "before": before, "label_delay_days": 7}
        (inputs / "history" / "manifest.json").write_text(json.dumps(manifest))
    assert_refused(jobs.run(launcher, "feature-extraction", tmp_path, "--as-of", AS_OF), message)


def test_an_output_that_is_no_folder_is_refused(ml: Path):
    ended = jobs.run("process", "etl", ml, "--as-of", AS_OF, "--output", "transactions=/dev/null/place")
    assert_refused(ended, r"/dev/null/place.*: Not a directory; name a folder")


@pytest.mark.docker
def test_a_full_disk_is_reported_with_its_outputs(ml: Path):
    """The user chooses the volume's size: another attempt on the same volume would fill it again."""
    full = ["--tmpfs", "/opt/ml/processing/output:size=4k"]
    message = (
        r"outputs .*transactions '/opt/ml/processing/output/tran.*: No space left on device; give the job a larger vol"
    )
    assert_refused(jobs.run("docker", "etl", ml, "--as-of", AS_OF, options=full), message)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-v", "{ml}/processing/output:/opt/ml/processing/output:ro"], "Read-only file system; mount it writable"),
        (["--user", "12345"], "Permission denied; give the stage's user access, or run it as another"),
    ],
    ids=["read-only", "another user's"],
)
def test_an_unwritable_output_fails_before_any_work(options: list[str], message: str, ml: Path):
    for folder in (ml, ml / "processing/output", ml / "output"):
        folder.mkdir(exist_ok=True)
    ml.chmod(0o755)
    (ml / "output").chmod(0o777)
    assert_refused(jobs.run("docker", "etl", ml, "--as-of", AS_OF, options=[o.format(ml=ml) for o in options]), message)


@pytest.mark.docker
def test_a_user_without_access_to_opt_ml_gets_one_message(ml: Path):
    ml.chmod(0o700)
    ended = jobs.run("docker", "etl", ml, "--as-of", AS_OF, options=["--user", "12345"])
    assert (ended.code, len(ended.log)) == (2, 1)
    assert re.search(r"/opt/ml/config/.*: Permission denied; give the stage's user access", ended.log[0]["message"])
