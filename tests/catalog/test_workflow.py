"""Stages, workflows, modules and images list the same things."""

from __future__ import annotations

import inspect
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from fraudline.catalog import features as definitions
from fraudline.catalog.plan import plan
from fraudline.catalog.stages import IMAGES, RUN, STAGES
from fraudline.catalog.templates import resolve
from fraudline.catalog.workflow import WORKFLOWS, Output

STEPS = [step for workflow in WORKFLOWS.values() for step in workflow.steps]
STEP_IDS = [f"{workflow.name}-{step.stage.name}" for workflow in WORKFLOWS.values() for step in workflow.steps]
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_stages_function_takes_its_parameters_and_no_others(stage):
    module = import_module(f"fraudline.{stage.image}.{stage.name.replace('-', '_')}")
    arguments = list(inspect.signature(module.run).parameters)
    own = {parameter.name for parameter in stage.parameters if parameter not in RUN}
    assert arguments[0] == "channels"
    assert set(arguments[1:]) == own | ({"run"} if stage.platform != "hosting" else set())


@pytest.mark.parametrize("step", STEPS, ids=STEP_IDS)
def test_a_step_feeds_every_channel_of_its_stage_and_no_other(step):
    assert set(step.reads) == {channel.name for channel in step.stage.reads}
    assert set(step.writes) <= {channel.name for channel in step.stage.writes}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_step_reads_only_what_an_earlier_one_wrote(workflow: str):
    written: set[tuple[str, str]] = set()
    for step in WORKFLOWS[workflow].steps:
        inputs = {(source.stage, source.channel) for source in step.reads.values() if isinstance(source, Output)}
        assert inputs <= written
        written |= {(step.stage.name, channel.name) for channel in step.stage.writes}


def test_published_channels_outlive_their_execution():
    for step in STEPS:
        published = {channel.name for channel in step.stage.writes if channel.published}
        assert published <= set(step.writes)


def test_a_day_reads_the_history_that_the_day_before_published():
    jobs = {job.stage.name: job for workflow in ("training", "daily") for job in plan(workflow)}
    engineering, extraction = jobs["feature-engineering"], jobs["feature-extraction"]
    trained, scored, following = date(2026, 4, 1), date(2026, 4, 2), date(2026, 4, 3)
    published = resolve(engineering.outputs["history"].template, trained)
    assert resolve(extraction.inputs["history"].template, scored) == published
    handed_on = resolve(extraction.outputs["history"].template, scored)
    assert resolve(extraction.inputs["history"].template, following) == handed_on


def test_every_image_has_its_folder_and_every_stage_its_image():
    assert {stage.image for stage in STAGES.values()} == set(IMAGES)
    folders = {path.name for path in (REPOSITORY / "containers").iterdir() if path.is_dir()}
    assert folders == {"base", *IMAGES}


def test_there_are_25_features_and_the_fixed_names_among_them():
    fixed = {
        "amount",
        "amount_zscore",
        "velocity_1h",
        "velocity_24h",
        "merchant_risk_score",
        "hour_of_day",
        "is_weekend",
    }
    assert len(set(definitions.NAMES)) == 25
    assert fixed <= set(definitions.NAMES)


def test_no_window_is_longer_than_labels_and_counts_are_kept():
    longest_delay = 30
    for feature in definitions.FEATURES:
        if feature.entity in ("merchant", "merchant_category"):
            assert feature.window // 86_400 + longest_delay <= definitions.ENTITY_DAYS
