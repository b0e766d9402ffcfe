"""The estimated bill agrees with the stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fraudline.catalog.workflow import WORKFLOWS
from tests.wiring import aws
from tools import cost


def test_functions_have_the_memory_of_the_stack():
    steps = {step.stage.name: step.stage.step for step in WORKFLOWS["daily"].steps}
    functions = aws.resources("Lambda::Function")
    defaults = aws.stack()["Parameters"]
    memory = {
        stage: defaults[functions[f"{step}Function"]["MemorySize"]["Ref"]]["Default"] / 1024
        for stage, step in steps.items()
    }
    assert memory == {stage: gigabytes for stage, (_, gigabytes) in cost.FUNCTIONS.items()}


def test_bill_counts_the_metrics_of_every_unconditional_alarm():
    alarms = aws.resources("CloudWatch::Alarm").items()
    unconditional = [alarm for name, alarm in alarms if "Condition" not in aws.stack()["Resources"][name]]
    assert sum(metrics(alarm) for alarm in unconditional) == cost.ALARM_METRICS


def metrics(alarm: Mapping[str, Any]) -> int:
    """Count the metrics that an alarm watches; CloudWatch bills each."""
    if "Metrics" not in alarm:
        return 1
    return sum("MetricStat" in metric for metric in alarm["Metrics"])


def test_price_list_has_a_date_and_no_unused_price():
    assert {line.price for line in cost.bill(1, endpoint=True)} == set(cost.prices())
    assert cost._price_list()["date"]


def test_cost_grows_with_volume_but_the_endpoint_does_not():
    bills = [cost.total(cost.bill(volume)) for volume in (1, 10_000, 100_000, 1_000_000)]
    assert bills == sorted(bills)
    extra = [cost.total(cost.bill(volume, endpoint=True)) - cost.total(cost.bill(volume)) for volume in (1, 1_000_000)]
    assert extra[0] == pytest.approx(extra[1]) == pytest.approx(730 * cost.prices()["ml.m5.large"])
