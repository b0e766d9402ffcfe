"""An approved model package starts the pipeline that deploys it, with SageMaker Pipelines as the engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from tests.aws.engine import Engine

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

ROLE = "arn:aws:iam::123456789012:role/pipelines"
PARAMETERS = {"Root": "s3://results", "AsOf": "2026-04-01", "Model": "s3://results/models/v2026-04-01/model.tar.gz"}
GROUP, PIPELINE = "fraud-detection", "fraud-model-deployment"


@pytest.fixture(scope="module")
def registry(deployed: Callable[..., dict[str, str]]) -> Any:
    """Return SageMaker, with the pipeline that deploys a model and the group in which models are registered."""
    deployed(Engine="SageMakerPipelines")
    client = boto3.client("sagemaker")
    client.create_pipeline(
        PipelineName=PIPELINE, PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": []}),
        ClientRequestToken="0" * 32, RoleArn=ROLE,
    )  # fmt: skip
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
