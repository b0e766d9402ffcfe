"""The reckoned bill agrees with the stack that it is for."""

from __future__ import annotations

import pytest

from fraudline.catalog.workflow import WORKFLOWS
from tests.wiring import aws
from tools import cost


def test_functions_have_the_memory_that_the_stack_gives_them():
    steps = {step.stage.name: step.stage.step for step in WORKFLOWS["daily"].steps}
    made = aws.resources("Lambda::Function")
    given = {stage: made[f"{step}Function"]["MemorySize"] / 1024 for stage, step in steps.items()}
    assert given == {stage: memory for stage, (_, memory) in cost.FUNCTIONS.items()}


def test_as_many_metrics_are_alarmed_as_the_stack_has():
    alarms = aws.resources("CloudWatch::Alarm").items()
    always = [alarm for name, alarm in alarms if "Condition" not in aws.stack()["Resources"][name]]
    looked_at = [
        len([it for it in alarm["Metrics"] if "MetricStat" in it]) if "Metrics" in alarm else 1 for alarm in always
    ]
    assert sum(looked_at) == cost.ALARMED


def test_every_price_is_of_something_that_is_bought_and_has_a_date():
    assert {line.price for line in cost.bill(1, endpoint=True)} == set(cost.prices())
    assert cost._listed()["date"]


def test_a_larger_volume_never_costs_less_and_an_endpoint_costs_the_same_at_any():
    bills = [cost.total(cost.bill(volume)) for volume in (1, 10_000, 100_000, 1_000_000)]
    assert bills == sorted(bills)
    extra = [cost.total(cost.bill(volume, endpoint=True)) - cost.total(cost.bill(volume)) for volume in (1, 1_000_000)]
    assert extra[0] == pytest.approx(extra[1]) == pytest.approx(730 * cost.prices()["ml.m5.large"])


def test_no_pair_of_the_plans_figures_adds_up_to_its_month():
    _, *sums, _ = cost.plan(50_000)
    assert len(sums) == 4
    assert all(not said.startswith("$144 ") for _, said in sums)
