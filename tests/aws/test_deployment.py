"""An approved model package starts the pipeline that deploys it, with SageMaker Pipelines as the engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import plan, title
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.orchestration.stack import pipelines
from fraudline.orchestration.stack.cloud import Cloud
from fraudline.orchestration.stack.parameters import KNOWN
from tests.aws.engine import Engine
from tests.pipeline_script import REPOSITORY

# moto's server leaves its sockets to the garbage collector.
pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore:.*unclosed")]

PARAMETERS = {"Root": "s3://results", "AsOf": "2026-04-01", "Model": "s3://results/models/v2026-04-01/model.tar.gz"}
GROUP, PIPELINE = "fraud-detection", "fraud-model-deployment"
SETTINGS = {
    "Threshold": "0.7",
    "ReviewBudget": "60",
    "Column": "merchant=SHOP,amount=SUM",
    "Hosting": "Endpoint",
    "EndpointName": "scorer",
    "ProcessingInstance": "ml.m5.2xlarge",
}


@pytest.fixture(scope="module")
def registry(deployed: Callable[..., dict[str, str]]) -> Any:
    """Return SageMaker, with the pipelines of a stack and the group in which their models are registered."""
    deployed(Engine="SageMakerPipelines", **SETTINGS)
    client = boto3.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    return client


def register(client: Any, approval: str, **changed: str) -> str:
    """Register a model as a training does, and return the package's ARN."""
    registered = client.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus=approval,
        CustomerMetadataProperties={**PARAMETERS, "Approval": approval, **changed},
    )
    return str(registered["ModelPackageArn"])


def ended(cloud: Engine) -> list[str]:
    """Return how each execution of the state machine that starts the pipeline ended: its error, or its status."""
    state_machine = "arn:aws:states:us-east-1:123456789012:stateMachine:fraud-deployment"
    descriptions = [cloud.wait_for(execution["executionArn"]) for execution in cloud.executions(state_machine)]
    return [description.get("error") or description["status"] for description in descriptions]


def deployments(client: Any) -> list[dict[str, str]]:
    """Return the parameters of each execution of the pipeline, the oldest first."""
    summaries = client.list_pipeline_executions(PipelineName=PIPELINE, SortOrder="Ascending")
    listings = [
        client.list_pipeline_parameters_for_execution(PipelineExecutionArn=it["PipelineExecutionArn"])
        for it in summaries["PipelineExecutionSummaries"]
    ]
    return [{it["Name"]: it["Value"] for it in listing["PipelineParameters"]} for listing in listings]


def defaults(client: Any, pipeline: str) -> dict[str, str]:
    """Return the defaults of a pipeline's parameters."""
    definition = json.loads(client.describe_pipeline(PipelineName=pipeline)["PipelineDefinition"])
    return {it["Name"]: it["DefaultValue"] for it in definition["Parameters"] if "DefaultValue" in it}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_pipelines_have_the_settings_of_their_stack(workflow: str, registry: Any):
    """Each setting is what the state machines of the stack would pass to the stage, or the catalog's default."""
    outputs = Cloud().outputs("fraud-stack") or {}
    parameters = Cloud().parameters("fraud-stack") or {}
    pipeline = f"fraud-{WORKFLOWS[workflow].pipeline}"
    assert registry.describe_pipeline(PipelineName=pipeline)["RoleArn"] == outputs["PipelineRole"]
    values = defaults(registry, pipeline)
    stage_settings = {name: it for job in plan(workflow) for name, it in job.settings.items()}
    for name, parameter in stage_settings.items():
        if name in KNOWN:
            expected = outputs.get(f"{title(name)}Setting", "")
        else:
            expected = parameters.get(title(name), parameter.default_text)
        assert values[title(name)] == expected, name
    assert values["Root"] == outputs["Root"]
    assert values.get("Data", outputs["Data"]) == outputs["Data"]


def test_what_the_stack_knows_reaches_its_pipelines(registry: Any):
    daily, deployment = defaults(registry, "fraud-detection-daily"), defaults(registry, PIPELINE)
    assert daily.items() >= {"Threshold": "0.7", "ReviewBudget": "60", "Column": "merchant=SHOP,amount=SUM"}.items()
    assert daily["ETLInstance"] == "ml.m5.2xlarge"
    assert daily["Table"] == "dynamodb://fraud_scores"
    assert daily["Topic"].endswith(":fraud-alerts")
    assert daily["Investigation"].endswith(":fraud-investigation")
    assert daily["FraudScoringEndpoint"] == "sagemaker://scorer"
    assert deployment["DeployModelEndpoint"] == "scorer"
    assert "ServingRole" in deployment["Role"]
    assert deployment["ServingImage"].startswith("1.dkr.ecr/fraudline/score@sha256:")


def test_a_dry_run_shows_what_would_change_in_pipelines(registry: Any, capfd: Any):
    before = defaults(registry, "fraud-detection-daily")
    pipelines.upsert(REPOSITORY, "fraud-stack", {"Threshold": "0.8"}, None, dry_run=True)
    lines = capfd.readouterr().out.splitlines()
    assert {"fraud-detection-daily: would be updated", "fraud-history-backfill: unchanged"} <= set(lines)
    assert '+      "DefaultValue": "0.8",' in lines
    assert defaults(registry, "fraud-detection-daily") == before
    with pytest.raises(InputError, match="fraud-stack is deployed, its pipelines are not"):
        pipelines.upsert(REPOSITORY, "fraud-stack", {"Treshold": "0.8"}, None, dry_run=True)
    assert "--set Treshold: the stack has no such parameter" in capfd.readouterr().err


def test_a_missing_environment_is_reported_before_anything_is_deployed(tmp_path: Path):
    with pytest.raises(InputError, match="make pipeline-setup creates it"):
        pipelines.check_environment(tmp_path)


def test_a_model_is_deployed_once_however_many_events_come(cloud: Engine, registry: Any):
    package = register(registry, "PendingManualApproval")
    registry.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Rejected")
    assert not ended(cloud)
    registry.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    assert ended(cloud) == ["SUCCEEDED"] * 2  # SageMaker may send an event twice
    assert deployments(registry) == [PARAMETERS]
    registry.update_model_package(ModelPackageArn=package, CustomerMetadataProperties={**PARAMETERS, "note": "x"})
    assert len(ended(cloud)) == 2
    other = PARAMETERS | {"AsOf": "2026-04-08"}
    second = register(registry, "PendingManualApproval", **other)
    registry.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved")
    assert ended(cloud) == ["SUCCEEDED"] * 4
    assert sorted(deployments(registry), key=lambda it: it["AsOf"]) == [PARAMETERS, other]


def test_a_model_approved_from_the_beginning_is_left_to_training(cloud: Engine, registry: Any):
    before = deployments(registry)
    register(registry, "Approved")
    assert set(ended(cloud)) <= {"SUCCEEDED"}
    assert deployments(registry) == before


def test_a_package_that_lacks_parameters_fails_with_a_reason(cloud: Engine, registry: Any):
    earlier = len(ended(cloud))
    answer = registry.create_model_package(ModelPackageGroupName=GROUP, ModelApprovalStatus="PendingManualApproval")
    registry.update_model_package(ModelPackageArn=answer["ModelPackageArn"], ModelApprovalStatus="Approved")
    assert ended(cloud)[earlier:] == ["IncompletePackage"] * 2
