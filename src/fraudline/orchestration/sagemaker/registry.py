"""The step that registers a model, and the request for its model package."""

from __future__ import annotations

from typing import Any

from fraudline.orchestration.sagemaker.parameters import Parameters, joined
from fraudline.orchestration.sagemaker.retries import BUSY
from fraudline.orchestration.sagemaker.sdk import ConfigurableRetryStep, ExecutionVariables, Properties, StepTypeEnum

# The content types that the score image accepts and answers.
CONTENT_TYPES = ["application/json", "application/jsonlines", "text/csv"]


class RegisterStep(ConfigurableRetryStep):  # type: ignore[misc]
    """A step that registers a model, because the SDK's own step comes only with a builder that repacks the model."""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        super().__init__(name, StepTypeEnum.REGISTER_MODEL, retry_policies=[BUSY])
        self.request = request

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the request for a model package."""
        return self.request

    @property
    def properties(self) -> Properties:
        """Return the properties that later steps may read."""
        return Properties(step_name=self.name, step=self, shape_name="DescribeModelPackageOutput")


def model_package(
    group: str, image: str, model: Any, evaluation: Any, approval: Any, parameters: Parameters
) -> dict[str, Any]:
    """Return the request for a model package, with everything that a deployment of it needs."""
    statistics = {"ContentType": "application/json", "S3Uri": joined(evaluation, "/verdict.json")}
    return {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": model}],
            "SupportedContentTypes": CONTENT_TYPES,
            "SupportedResponseMIMETypes": CONTENT_TYPES,
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": statistics}},
        "CustomerMetadataProperties": {
            "Root": parameters.use("Root"),
            "AsOf": parameters.use("AsOf"),
            "Model": model,
            "Approval": approval,  # where it is Approved from the beginning, training itself deploys the model
            "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
        },
    }
