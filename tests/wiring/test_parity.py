"""What one orchestrator can set, the other can set too."""

from __future__ import annotations

import json

import pytest

from fraudline.catalog.plan import plan, setting_name, settings, title
from fraudline.catalog.stages import AS_OF, EXECUTION
from fraudline.catalog.workflow import WORKFLOWS
from tests import pipeline_script
from tests.wiring import aws

STATE_MACHINES = {
    "training": ["training"],
    "daily": ["daily", "daily_standard"],
    "deployment": ["rollback"],
    "backfill": ["backfill"],
}
PARAMETERS = [
    (workflow.name, step.stage, parameter)
    for workflow in WORKFLOWS.values()
    for step in workflow.steps
    for parameter in step.stage.parameters
    if parameter not in (AS_OF, EXECUTION)  # the execution itself decides these
]
each_parameter = pytest.mark.parametrize(
    ("workflow", "stage", "parameter"),
    PARAMETERS,
    ids=[f"{workflow}-{stage.name}-{parameter.name}" for workflow, stage, parameter in PARAMETERS],
)


@each_parameter
def test_every_stage_parameter_is_a_setting(workflow: str, stage, parameter):
    name = setting_name(stage, parameter)
    assert settings()[name] is parameter
    (job,) = (job for job in plan(workflow) if job.stage is stage)
    assert job.settings[name] is parameter


@each_parameter
def test_every_stage_parameter_can_be_set_with_step_functions(workflow: str, stage, parameter):
    for name in STATE_MACHINES[workflow]:
        states = aws.definition(name)["States"]
        assert setting_name(stage, parameter) in states["ResolveArguments"]["Result"]["settings"]


@pytest.mark.pipeline
@each_parameter
def test_every_stage_parameter_can_be_set_with_pipelines(workflow: str, stage, parameter):
    names = {item["Name"] for item in json.loads(pipeline_script.definition_text(workflow))["Parameters"]}
    assert title(setting_name(stage, parameter)) in names


@pytest.mark.pipeline
@pytest.mark.parametrize("workflow", STATE_MACHINES)
def test_both_orchestrators_have_the_same_defaults(workflow: str):
    """A state machine has the stack's values, whose defaults are the catalog's, or the default itself."""
    defaults = {
        item["Name"]: item.get("DefaultValue")
        for item in json.loads(pipeline_script.definition_text(workflow))["Parameters"]
    }
    decided_by_site = {"serving_image", "role", "kms_key", "subnets", "security_groups", "network_isolation"}
    for state_machine in STATE_MACHINES[workflow]:
        arguments = aws.definition(state_machine)["States"]["ResolveArguments"]["Result"]
        for name, value in arguments["settings"].items():
            default = settings()[name].default_text
            assert value in (default, f"${{{title(name)}}}")
            assert name in decided_by_site or defaults[title(name)] == default
