"""A stage's metrics in CloudWatch's embedded metric format: CloudWatch extracts them from a log line.

The format asks for one JSON object a line; other members are allowed and stay in the log.
"""

from __future__ import annotations

import math
import time
from typing import Any

from fraudline.catalog.stage import WATCHED, Stage, Summary

NAMESPACE, DIMENSION = "Fraudline", "Stage"


def embedded(stage: Stage, summary: Summary) -> dict[str, Any]:
    """Return the members of a log line that hold a summary's metrics, none where no metric has a value.

    A value that could not be computed (None, NaN) is left out, so that its alarm sees missing data and not a zero.
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
