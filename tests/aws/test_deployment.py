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
def package(deployed: Callable[..., dict[str, str]]) -> str:
    """Register a model as a training does, with the pipeline that deploys it; return the package's ARN."""
    deployed(Engine="SageMakerPipelines")
    client = boto3.client("sagemaker")
    client.create_pipeline(
        PipelineName=PIPELINE, PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": []}),
        ClientRequestToken="0" * 32, RoleArn=ROLE,
    )  # fmt: skip
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    registered = client.create_model_package(ModelPackageGroupName=GROUP, CustomerMetadataProperties=PARAMETERS)
    return str(registered["ModelPackageArn"])


def send_status(package: str, status: str) -> None:
    """Send the event that SageMaker sends when a package's approval status changes."""
    detail = {"ModelPackageGroupName": GROUP, "ModelPackageArn": package, "ModelApprovalStatus": status}
    kind = "SageMaker Model Package State Change"
    event = {"Source": "aws.sagemaker", "DetailType": kind, "Detail": json.dumps(detail)}
    boto3.client("events").put_events(Entries=[event])


def executions(cloud: Engine) -> list[dict[str, Any]]:
    """Return the ended executions of the state machine that starts the pipeline."""
    state_machine = "arn:aws:states:us-east-1:123456789012:stateMachine:fraud-deployment"
    return [cloud.wait_for(execution["executionArn"]) for execution in cloud.executions(state_machine)]


def test_an_approved_model_is_deployed_with_its_parameters(cloud: Engine, package: str):
    send_status(package, "Rejected")
    assert not executions(cloud)
    send_status(package, "Approved")
    (execution,) = executions(cloud)
    assert execution["status"] == "SUCCEEDED", execution
    client = boto3.client("sagemaker")
    (started,) = client.list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    listing = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=started["PipelineExecutionArn"])
    parameters = {parameter["Name"]: parameter["Value"] for parameter in listing["PipelineParameters"]}
    assert parameters == PARAMETERS
