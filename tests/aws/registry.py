"""The joints of SageMaker's model registry and pipelines: events of model packages, and starts with a token.

Sources: "SageMaker model package state change" in "Events that Amazon SageMaker AI sends to Amazon EventBridge", and
StartPipelineExecution in SageMaker's API reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.events.models import events_backends
from moto.sagemaker.models import SageMakerModelBackend

Joint = tuple[Any, str, Any]

_FIELDS = {
    "model_approval_status": "ModelApprovalStatus",
    "approval_description": "ApprovalDescription",
    "customer_metadata_properties": "CustomerMetadataProperties",
}


def joints() -> Iterator[Joint]:
    """Yield the joints of SageMaker."""
    create, update = SageMakerModelBackend.create_model_package, SageMakerModelBackend.update_model_package
    start = SageMakerModelBackend.start_pipeline_execution

    def create_model_package(backend: Any, **request: Any) -> str:
        """Send the events of a creation; AWS does not say whether they name fields, so one does and one does not."""
        arn = create(backend, **request)
        _send(backend, arn, None)
        _send(backend, arn, [name for field, name in _FIELDS.items() if request.get(field)])
        return arn

    def update_model_package(backend: Any, model_package_arn: str, **request: Any) -> str:
        """Send the event of an update twice, and keep what the request does not name."""
        package = backend.model_packages[backend.model_package_name_mapping[model_package_arn]]
        fields = [name for field, name in _FIELDS.items() if request.get(field)]
        kept = {field: request.get(field) or getattr(package, field) for field in _FIELDS}
        arn = update(backend, model_package_arn=model_package_arn, **request | kept)
        for _ in range(2):
            _send(backend, arn, fields)
        return arn

    def start_pipeline_execution(backend: Any, name: str, *request: Any) -> dict[str, str]:
        """Answer a token that was used before with its execution."""
        token = request[-1]
        for arn, execution in backend.pipelines[name].pipeline_executions.items() if name in backend.pipelines else ():
            if token and execution.client_request_token == token:
                return {"PipelineExecutionArn": arn}
        return start(backend, name, *request)

    yield SageMakerModelBackend, "create_model_package", create_model_package
    yield SageMakerModelBackend, "update_model_package", update_model_package
    yield SageMakerModelBackend, "start_pipeline_execution", start_pipeline_execution


def _send(backend: Any, arn: str, fields: list[str] | None) -> None:
    """Send a package's event, with the names of the fields that were updated."""
    package = backend.model_packages[backend.model_package_name_mapping[arn]]
    detail = {
        "ModelPackageGroupName": package.model_package_group_name,
        "ModelPackageVersion": package.model_package_version,
        "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": package.model_approval_status,
        **({} if fields is None else {"UpdatedModelPackageFields": fields}),
    }
    event = {
        "Source": "aws.sagemaker",
        "DetailType": "SageMaker Model Package State Change",
        "Detail": json.dumps(detail),
        "Resources": [arn],
    }
    events_backends[backend.account_id][backend.region_name].put_events([event])
