"""The Glue job fraud-data-extract writes what the image's data-extraction writes: the same valid and rejected rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.catalog.errors import InputError
from fraudline.etl.rules import LABEL_RULES, RAW_RULES
from tests.etl.deliveries import DAY, GOOD, deliver, write
from tests.etl.test_files import BROKEN as BROKEN_FILES
from tests.glue.jobs import run_job
from tests.running import run_stage

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

AS_OF = date(2026, 2, 1)
NEXT = DAY + timedelta(days=1)

ROWS: list[dict[str, Any]] = [
    GOOD | {"transaction_id": f"t{n}", "customer_id": f"c{n % 13}", "amount": n * 1.005, "latitude": n / 7}
    for n in range(120)
]
BROKEN = [
    {"amount": -0.01},
    {"amount": float("nan")},
    {"amount": float("-inf")},
    {"amount": None, "merchant": ""},
    {"amount": 1e9},
    {"amount": 1e300},
    {"transaction_id": None},
    {"transaction_id": None, "customer_id": None},
    {"timestamp": None, "customer_id": ""},
    {"timestamp": datetime(2026, 1, 12, tzinfo=UTC)},
]
LABELS = [
    {"transaction_id": f"t{n}", "is_fraud": n % 2, "labeled_at": datetime(2026, 1, 12, tzinfo=UTC) + timedelta(days=n)}
    for n in range(60)
]
LATER = [
    label | {"is_fraud": 1, "labeled_at": label["labeled_at"] + timedelta(n % 3)} for n, label in enumerate(LABELS)
]
# What text may hold: zones, quotes, long amounts, texts that are no number or no time, lines that are too short.
CSV = """transaction_id,customer_id,merchant,amount,timestamp,merchant_category,latitude,extra
x00,007,m1, 0.285 ,2026-01-10T14:30:05+02:00,0815,1.5,
x01,007,"m,""1""
",+3,2026-01-10 12:30:05,"",,x
x02,8,m2,0.295,2026-01-10T07:30:05.0000001-0500,,-0.0,x
x03,8,m2,12345678901234567890123456789012345678901234567890,2026-01-10T12:00:00Z,,,
x04,8,m2,"1,5",yesterday,,north,
x05,8,m2,nan,0001-01-01T00:00:00Z,,1e400,
x06,8,m2,1e3,2026-01-10
x07,8,, 90071992547409.93,2026-01-10T12:00:00Z,,,

,8,m2,1.00,2026-01-10T12:00:00Z,,,
x08,8,m2,7,2026-01-09T23:59:59.999999Z,,,
x09,ä 8 ,m2,-0.00,2026-01-10T24:00:00Z,,,
"""
JSON = """{"transaction_id": 70, "customer_id": 12345678901234567890, "timestamp": "2026-01-10T12:00", "amount": 12.10}
{"merchant": 5, "amount": 12.10, "transaction_id": 71, "customer_id": 1, "timestamp": "2026-01-10T12:00:00"}
{"transaction_id": "y1", "customer_id": "c1", "merchant": "m1", "amount": "0.005", "timestamp": 1768048205}
{"transaction_id": "y2", "customer_id": "c1", "merchant": null, "amount": 0.1e1, "timestamp": "2026-01-10T12:00:00.5Z"}
"""
LABELS_CSV = """transaction_id,is_fraud,labeled_at
x00,1.0,2026-01-12 01:00:00+05:30
x01,TRUE,soon
x02,maybe,
y1,0,0001-01-01T00:00:00Z
t7,2,2026-01-12T00:00:00Z
"""
BROKEN_LABELS = [
    {"transaction_id": None, "is_fraud": 1, "labeled_at": None},
    {"transaction_id": "t3", "is_fraud": 3, "labeled_at": None},
    {"transaction_id": "t4", "is_fraud": None, "labeled_at": None},
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Deliver valid, broken, repeated and contradictory rows, in files of different columns, types and depths."""
    root = tmp_path_factory.mktemp("a 1 %41")
    broken = [GOOD | {"transaction_id": f"b{number}"} | row for number, row in enumerate(BROKEN)]
    deliver(root, ROWS + ROWS[:5] + broken, LABELS + LATER + BROKEN_LABELS)
    contradictions = [row | {"amount": 9.0} for row in ROWS[5:8]]
    deliver(root, ROWS[:3] + contradictions, day=NEXT, name="deep/2026-01-30/contradictions.parquet")
    numbers = pl.int_range(0, 999, eager=True)
    table = pl.DataFrame(
        {"transaction_id": numbers + 10_000, "customer_id": numbers % 7, "merchant": numbers.cast(pl.String)}
    ).with_columns(
        pl.col("merchant").cast(pl.Categorical),
        pl.lit(datetime(2026, 1, 11, 3, 4, 5)).alias("timestamp"),
        pl.lit("food").alias("merchant_category"),
        pl.lit(None).alias("longitude"),
    )
    amounts = {
        "single": (numbers / 200).cast(pl.Float32),
        "half": (numbers * 5).cast(pl.Decimal(20, 3)) / 1000,
        "whole": numbers.cast(pl.UInt16),
    }
    for number, (name, amount) in enumerate(amounts.items()):
        ids = (pl.col("transaction_id") + 1000 * number).alias("transaction_id")
        table.with_columns(ids, amount.alias("amount")).write_parquet(root / f"raw/{NEXT}/{name}.parquet")
    flags = pl.DataFrame({"transaction_id": numbers + 10_000, "is_fraud": numbers % 50 == 0})
    flags.write_parquet(root / "labeled/flags.parquet")
    more = {"more.csv.gz": ROWS[5:25], "more.ndjson": ROWS[20:40], "deep/more.jsonl.gz": ROWS[35:50]}
    for name, rows in more.items():
        write(root / f"raw/{NEXT}" / name, [row | {"transaction_id": f"0{row['transaction_id']}"} for row in rows])
    (root / f"raw/{DAY}/text.csv").write_text(CSV)
    (root / f"raw/{DAY}/text.jsonl").write_text(JSON)
    (root / f"raw/{DAY}/none.jsonl").touch()
    (root / "labeled/text.csv").write_text(LABELS_CSV)
    write(root / "labeled/more.jsonl.gz", LATER[10:20])
    write_unusual_labels(root / "labeled")
    return {"raw": root / "raw", "labels": root / "labeled"}


def write_unusual_labels(folder: Path) -> None:
    """Write labels as quoted objects, and files that can't be read as labels."""
    (folder / "quoted.jsonl").write_text(json.dumps(json.dumps({"transaction_id": "t59", "is_fraud": True})))
    (folder / "cut.jsonl").write_text('{"transaction_id": ')
    (folder / "cut.parquet").write_bytes(b"PAR1")
    write(folder / "other.csv", [{"id": "t1", "is_fraud": 1}])
    write(folder / "other.parquet", [{"id": "t1", "is_fraud": 1}])


def job_outputs(root: Path) -> dict[str, Path]:
    return {name: root / name for name in ("dataset", "rejected", "summary")}


@pytest.fixture(scope="module")
def both(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Run the image's stage and the Glue job on one delivery."""
    image, glue = (tmp_path_factory.mktemp(name) for name in ("image", "glue"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fraudline.etl.dataset.FOLDER_ROWS", 700)
        run_stage("data-extraction", inputs, job_outputs(image), as_of=AS_OF, sample=0.4, max_rejected=1)
        run_job("fraud_data_extract", inputs, job_outputs(glue), as_of=AS_OF, sample=0.4, max_rejected=1)
        yield image, glue


def dataset_of(root: Path) -> pl.DataFrame:
    files = sorted((root / "dataset").rglob("*.parquet"))
    tables = [pl.read_parquet(f, hive_partitioning=False).with_columns(folder=pl.lit(f.parent.name)) for f in files]
    return pl.concat(tables).sort("transaction_id")


def test_dataset_equals_the_images_in_rows_and_folders(both: tuple[Path, Path]):
    image, glue = (dataset_of(root) for root in both)
    assert image.get_column("folder").n_unique() == 5
    assert image.get_column("weight").n_unique() == 3
    assert_frame_equal(glue, image, check_exact=True)


def test_rejected_rows_equal_the_images_with_their_reasons(both: tuple[Path, Path]):
    """Both use one table of rules, and this delivery breaks every rule."""
    image, glue = (pl.concat(pl.read_parquet(file) for file in (root / "rejected").glob("*.parquet")) for root in both)
    reasons = set(image.get_column("reasons").explode())
    assert reasons == {rule.name for rule in (*RAW_RULES, *LABEL_RULES)}
    assert glue.schema == image.schema
    assert sorted(map(repr, glue.rows())) == sorted(map(repr, image.rows()))


def test_summary_equals_the_images(both: tuple[Path, Path]):
    image, glue = (json.loads((root / "summary/summary.json").read_text()) for root in both)
    assert glue == image


@pytest.mark.parametrize("case", ["column", "type", "rejected", "day", "labels"])
def test_wrong_delivery_gives_the_message_of_the_image(case: str, tmp_path: Path):
    """To fix a delivery, one need not know which platform read it."""
    row = {name: value for name, value in GOOD.items() if case != "column" or name != "merchant"}
    row |= {"rejected": {"amount": -1.0}, "labels": {"transaction_id": "other"}}.get(case, {})
    inputs = deliver(tmp_path, [row], day=date(2020, 1, 1) if case == "day" else DAY)
    if case == "type":
        pl.DataFrame([row | {"amount": "12.34"}]).write_parquet(tmp_path / f"raw/{DAY}/transactions.parquet")
    with pytest.raises(InputError) as image:
        run_stage("data-extraction", inputs, job_outputs(tmp_path), as_of=AS_OF)
    with pytest.raises(SystemExit) as glue:
        run_job("fraud_data_extract", inputs, job_outputs(tmp_path), as_of=AS_OF)
    assert str(glue.value).replace("string", "String") == f"InputRejected: {image.value}"


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_unreadable_file_is_named(case: str, tmp_path: Path):
    """Spark's own message is a page of Java, and does not always name the file."""
    suffix, breaks, format_ = BROKEN_FILES[case]
    deliver(tmp_path, ROWS)
    inputs = deliver(tmp_path, [GOOD | {"extra": "a column that nobody reads"}], name=f"late.{suffix}")
    breaks(inputs["raw"] / DAY.isoformat() / f"late.{suffix}")
    message = rf"channel 'raw': {DAY}/late.{suffix} is not readable {format_} \(.*deliver it"
    with pytest.raises(SystemExit, match=message):
        run_job("fraud_data_extract", inputs, job_outputs(tmp_path), as_of=AS_OF)
