"""A stage's metrics reach CloudWatch: a log line in the embedded metric format."""

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
# Units of PutMetricData that the stages use; the specification refers to them.
UNITS = {"None", "Count"}


def check(line: str) -> dict[str, Any]:
    """Return a log line's metrics by name; CloudWatch silently drops a line that breaks the specification."""
    root = json.loads(line)  # "a valid JSON object with no additional data at the beginning or end"
    assert len(line.encode()) < 256 * 1024
    head = root["_aws"]
    assert isinstance(head["Timestamp"], int)
    assert abs(head["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 14 * 86_400  # CloudWatch rejects older ones
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
def test_every_metric_of_a_stage_is_in_the_line(stage: Any):
    values = {metric.name: number / 8 for number, metric in enumerate(stage.metrics)}
    assert check(json.dumps(embedded(stage, {WATCHED: values}))) == values


def test_an_unknown_value_is_missing_and_not_zero():
    """An alarm on recall must not ring because no label has arrived yet."""
    values = {"scored": 10, "recall": None, "average_precision": float("nan")}
    assert check(json.dumps(embedded(STAGES["alert-and-store"], {WATCHED: values}))) == {"scored": 10}
    assert embedded(STAGES["alert-and-store"], {WATCHED: {"recall": None}}) == {}


def test_metrics_are_in_the_last_line_of_a_stage(tmp_path: Path):
    """Processing sends every line to CloudWatch."""
    day = date(2026, 1, 10)
    noon = datetime(2026, 1, 10, 12, tzinfo=UTC)
    rows = [
        {"transaction_id": f"t{number}", "customer_id": "c", "merchant": "m", "amount": 1.0, "timestamp": noon}
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
