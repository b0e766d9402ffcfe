"""A stage's metrics in CloudWatch's embedded format: members of a log line, from which CloudWatch makes the metrics.

The format asks that the line be one JSON object; other members are allowed and stay in the log.
"""

from __future__ import annotations

import math
import time
from typing import Any

from fraudline.catalog.stage import WATCHED, Stage, Summary

NAMESPACE, DIMENSION = "Fraudline", "Stage"


def embedded(stage: Stage, summary: Summary) -> dict[str, Any]:
    """The members of a log line that give a summary's metrics; none where there is no value.

    A value that could not be computed (None, NaN) is left out: an alarm then sees missing data, not a zero.
    """
    values = {name: value for name, value in summary.get(WATCHED, {}).items() if value is not None}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if not finite:
        return {}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[DIMENSION]],
        "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in stage.metrics if metric.name in finite],
    }
    head = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": head, DIMENSION: stage.name, **finite}
