"""What alarms watch reaches CloudWatch: a log line as the embedded metric format's specification wants it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.stage import WATCHED
from fraudline.catalog.stages import STAGES
from fraudline.entrypoints.metrics import embedded
from tests.entrypoints import jobs

WATCHED_STAGES = [stage for stage in STAGES.values() if stage.metrics]
# Of PutMetricData, to which the specification refers.
UNITS = {"None", "Count"}


def check(line: str) -> dict[str, Any]:
    """A log line's metrics by name, if it obeys the specification: what is missing there, CloudWatch drops silently."""
    root = json.loads(line)  # "a valid JSON object with no additional data at the beginning or end"
    assert len(line.encode()) < 256 * 1024
    head = root["_aws"]
    assert isinstance(head["Timestamp"], int)
    assert abs(head["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 14 * 86_400  # older ones are refused
    (directive,) = head["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert 1 <= len(directive["Namespace"]) <= 1024
    for name in (name for dimensions in directive["Dimensions"] for name in dimensions):
        assert isinstance(root[name], str)
    assert len(directive["Metrics"]) <= 100
    for metric in directive["Metrics"]:
        assert metric["Unit"] in UNITS
        assert isinstance(root[metric["Name"]], int | float)
    return {metric["Name"]: root[metric["Name"]] for metric in directive["Metrics"]}


@pytest.mark.parametrize("stage", WATCHED_STAGES, ids=[stage.name for stage in WATCHED_STAGES])
def test_every_metric_of_a_stage_is_in_the_line_with_its_value(stage: Any):
    values = {metric.name: number / 8 for number, metric in enumerate(stage.metrics)}
    assert check(json.dumps(embedded(stage, {WATCHED: values}))) == values


def test_a_value_that_is_not_known_is_missing_and_not_zero():
    """An alarm on recall must not go off because no label has come yet."""
    values = {"scored": 10, "recall": None, "average_precision": float("nan")}
    assert check(json.dumps(embedded(STAGES["alert-and-store"], {WATCHED: values}))) == {"scored": 10}
    assert embedded(STAGES["alert-and-store"], {WATCHED: {"recall": None}}) == {}


def test_the_line_is_the_last_of_a_finished_stage(tmp_path: Path):
    """As Processing would send it to CloudWatch."""
    day = date(2026, 1, 10)
    at = datetime(2026, 1, 10, 12, tzinfo=UTC)
    rows = [
        {"transaction_id": f"t{number}", "customer_id": "c", "merchant": "m", "amount": 1.0, "timestamp": at}
        for number in range(19)
    ]
    raw, labels = tmp_path / f"processing/input/raw/{day}", tmp_path / "processing/input/labels"
    for folder in (raw, labels):
        folder.mkdir(parents=True)
    pl.DataFrame([*rows, rows[0] | {"transaction_id": "broken", "amount": -1.0}]).write_parquet(raw / "a.parquet")
    pl.DataFrame({"transaction_id": ["t0"], "is_fraud": [0]}).write_parquet(labels / "a.parquet")
    ended = jobs.run("process", "etl", tmp_path, "--as-of", str(day + timedelta(days=1)))
    assert ended.code == 0
    line = ended.text.splitlines()[-1]
    assert json.loads(line)["Stage"] == "etl"
    assert check(line) == {"rejected_share": 0.05}
