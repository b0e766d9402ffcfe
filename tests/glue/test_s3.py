"""Glue jobs with channels under s3://, where Spark and boto3 read and write side by side.

Hadoop's own S3 client is not installed here. For Spark the bucket is a folder that Hadoop mounts under the bucket's
name; for boto3 it is an AWS API server over HTTP. Each is copied into the other before it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fraudline.runtime import s3
from fraudline.simulate import simulate
from tests.etl.deliveries import DAY, GOOD, deliver, write
from tests.glue.jobs import run_job
from tests.glue.test_fraud_data_extract import dataset_of, job_outputs
from tests.glue.test_fraud_feature_eng import AS_OF, DAYS, INEXACT, SPLIT, START, feature_outputs
from tests.running import run_stage

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("aws")]

BUCKET = "bucket"
EXECUTION = f"s3://{BUCKET}/executions/training/DataExtract"
OUTPUTS = {name: f"{EXECUTION}/{name}" for name in ("dataset", "rejected")} | {"summary": EXECUTION}


@pytest.fixture
def mounted(aws: None, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create the bucket, and yield the folder that Spark reads and writes instead of it."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    mount = {
        "fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        "fs.s3.impl.disable.cache": "true",
        f"fs.viewfs.mounttable.{BUCKET}.linkFallback": folder.as_uri(),
    }
    for name, value in mount.items():
        settings.set(name, value)
    workers = spark.sparkContext.environment  # executors' Python processes start without the AWS variables
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    workers.update(variables)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    uri = f"s3://{BUCKET}/"
    fetch, upload = s3.fetch, s3.upload

    def preceded(function: Callable[..., Any], copy: Callable[[], None]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            copy()
            return function(*arguments, **named)

        return call

    reader = type(spark.read)
    monkeypatch.setattr(s3, "fetch", preceded(s3.fetch, lambda: upload(folder, uri, str)))
    monkeypatch.setattr(reader, "parquet", preceded(reader.parquet, lambda: fetch(uri, folder)))
    yield folder
    bucket = boto3.resource("s3").Bucket(BUCKET)
    bucket.objects.delete()
    bucket.delete()
    for name in mount:
        settings.unset(name)
    for name in variables:
        del workers[name]


def _delivered(folder: Path) -> dict[str, Path]:
    rows = [GOOD | {"transaction_id": f"t{n}", "customer_id": f"c{n % 9}"} for n in range(50)]
    inputs = deliver(folder, [*rows, GOOD | {"transaction_id": "b", "amount": -1.0}])
    write(folder / f"raw/{DAY}/more.csv.gz", [row | {"transaction_id": f"0{row['transaction_id']}"} for row in rows])
    write(folder / "labeled/more.jsonl", [{"transaction_id": "0t3", "is_fraud": 1}])
    return inputs


def _keys() -> set[str]:
    return {uri.removeprefix(f"{EXECUTION}/") for uri in s3.list_objects(EXECUTION)}


def test_extract_under_s3_writes_what_the_image_writes(mounted: Path, tmp_path: Path):
    inputs = _delivered(tmp_path)
    run_stage("data-extraction", inputs, job_outputs(tmp_path / "image"), as_of="2026-02-01")
    for name in ("raw", "labeled"):
        s3.upload(tmp_path / name, f"s3://{BUCKET}/{name}", str)
    run_job(
        "fraud_data_extract",
        {"raw": f"s3://{BUCKET}/raw", "labels": f"s3://{BUCKET}/labeled"},
        OUTPUTS,
        as_of="2026-02-01",
    )
    assert {key.split("/")[0] for key in _keys()} == {"dataset", "rejected", "summary.json"}
    s3.fetch(EXECUTION, tmp_path / "glue")
    summary, expected = (tmp_path / folder / "summary.json" for folder in ("glue", "image/summary"))
    assert json.loads(summary.read_text()) == json.loads(expected.read_text())
    assert_frame_equal(dataset_of(tmp_path / "glue"), dataset_of(tmp_path / "image"), check_exact=True)


def test_failed_job_leaves_no_earlier_summary(mounted: Path, tmp_path: Path):
    """Spark writes in place, so an old summary would vouch for half of a new dataset."""
    inputs = _delivered(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/summary.json").write_text("{}")
    s3.upload(tmp_path / "old", EXECUTION, str)
    with pytest.raises(SystemExit, match="negative-amount 1"):
        run_job("fraud_data_extract", inputs, OUTPUTS, as_of="2026-02-01", max_rejected=0)
    assert "summary.json" not in _keys()


def test_features_under_s3_equal_the_images(mounted: Path, tmp_path: Path):
    """Spark writes the splits in place; the history passes through the driver, contracts and summary through boto3."""
    simulate(tmp_path, start=START, days=DAYS, customers=100, merchants=50, seed=3)
    inputs = {"raw": tmp_path / "raw", "labels": tmp_path / "labeled"}
    run_stage("data-extraction", inputs, job_outputs(tmp_path / "extracted"), as_of=AS_OF)
    dataset = tmp_path / "extracted/dataset"
    image = feature_outputs(tmp_path / "image")
    run_stage("feature-engineering", {"dataset": dataset}, image, as_of=AS_OF, execution="one")
    s3.upload(dataset, f"s3://{BUCKET}/dataset", str)
    outputs = {name: f"s3://{BUCKET}/features/{name}" for name in image}
    run_job("fraud_feature_eng", {"dataset": f"s3://{BUCKET}/dataset"}, outputs, as_of=AS_OF, execution="one")
    glue = feature_outputs(tmp_path / "glue")
    for name, folder in glue.items():
        s3.fetch(outputs[name], folder)
    for name in SPLIT:
        actual, expected = (pl.read_parquet(root[name] / "*.parquet").sort("transaction_id") for root in (glue, image))
        assert_frame_equal(actual.drop(INEXACT), expected.drop(INEXACT), check_exact=True)
    for file in ("summary/summary.json", "history/manifest.json", *(f"{name}/contract.json" for name in SPLIT)):
        actual, expected = (json.loads((tmp_path / root / file).read_text()) for root in ("glue", "image"))
        assert actual == expected
