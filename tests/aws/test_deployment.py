"""With SageMaker Pipelines as the engine: an approved model package starts the pipeline that deploys it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from tests.aws.engine import Engine

# That server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

ROLE = "arn:aws:iam::123456789012:role/pipelines"
TOLD = {"Root": "s3://results", "AsOf": "2026-04-01", "Model": "s3://results/models/v2026-04-01/model.tar.gz"}
GROUP, PIPELINE = "fraud-detection", "fraud-model-deployment"


@pytest.fixture(scope="module")
def package(deployed: Callable[..., dict[str, str]]) -> str:
    """A model that a training registered, and the pipeline that is to deploy it."""
    deployed(Engine="SageMakerPipelines")
    client = boto3.client("sagemaker")
    client.create_pipeline(
        PipelineName=PIPELINE, PipelineDefinition=json.dumps({"Version": "2020-12-01", "Steps": []}),
        ClientRequestToken="0" * 32, RoleArn=ROLE,
    )  # fmt: skip
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    made = client.create_model_package(ModelPackageGroupName=GROUP, CustomerMetadataProperties=TOLD)
    return str(made["ModelPackageArn"])


def approve(package: str, status: str = "Approved") -> None:
    detail = {"ModelPackageGroupName": GROUP, "ModelPackageArn": package, "ModelApprovalStatus": status}
    kind = "SageMaker Model Package State Change"
    event = {"Source": "aws.sagemaker", "DetailType": kind, "Detail": json.dumps(detail)}
    boto3.client("events").put_events(Entries=[event])


def executions(cloud: Engine) -> list[dict[str, Any]]:
    """Of the machine, each at its end."""
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:fraud-deployment"
    return [cloud.ended(execution["executionArn"]) for execution in cloud.executions(machine)]


def test_an_approved_model_is_deployed_as_its_training_left_it(cloud: Engine, package: str):
    approve(package, "Rejected")
    assert not executions(cloud)
    approve(package)
    (ended,) = executions(cloud)
    assert ended["status"] == "SUCCEEDED", ended
    client = boto3.client("sagemaker")
    (started,) = client.list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    given = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=started["PipelineExecutionArn"])
    assert {it["Name"]: it["Value"] for it in given["PipelineParameters"]} == TOLD
