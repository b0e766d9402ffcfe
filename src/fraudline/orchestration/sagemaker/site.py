"""Where a site's SageMaker jobs run: role, key, network, instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fraudline.catalog import plan
from fraudline.catalog.errors import InputError
from fraudline.catalog.plan import title
from fraudline.catalog.settings import Settings, by_name
from fraudline.catalog.workflow import MODEL_PACKAGES, WORKFLOWS

ROLE = "arn:aws:iam::123456789012:role/fraudline"  # a placeholder for definitions that are only printed
INSTANCE = "ml.m5.xlarge"
NAME = "fraud"


@dataclass(frozen=True)
class Site:
    """Where jobs run.

    Attributes:
        name: prefix of the names of pipelines and model packages; two sites of an account have two.
        role: ARN of the role that the jobs, and an endpoint, run as.
        kms_key: the key of the volumes and outputs, empty for SageMaker's own.
        subnets: the subnets of the jobs and of an endpoint.
        security_groups: the security groups of the jobs and of an endpoint.
        network_isolation: whether jobs that need no network have none.
        spot: whether to train on spot instances, with checkpoints.
        tags: the tags of the pipeline and its jobs.
        instances: the instance type by platform, "processing" or "training".
        settings: defaults of stage settings, by name.
        endpoint: name of the endpoint that hosts the champion, empty for none.
    """

    name: str = NAME
    role: str = ROLE
    kms_key: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    spot: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    instances: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[tuple[str, str], ...] = ()
    endpoint: str = ""

    @classmethod
    def of(cls, settings: Settings, **replaced: Any) -> Site:
        """Return the site of a settings file, with some fields replaced."""
        values: dict[str, Any] = {
            "name": settings.name,
            "role": settings.role or ROLE,
            "kms_key": settings.kms_key,
            "subnets": tuple(settings.subnets),
            "security_groups": tuple(settings.security_groups),
            "network_isolation": settings.network_isolation,
            "spot": settings.spot,
            "tags": settings.tags,
            "instances": {"processing": settings.processing_instance, "training": settings.training_instance},
            "settings": tuple(settings.parameters()),
            "endpoint": settings.endpoint_name if settings.host_endpoint else "",
        }
        return cls(**values | replaced)

    @classmethod
    def of_stack(cls, settings: Settings, parameters: Mapping[str, str], outputs: Mapping[str, str]) -> Site:
        """Return the site of a stack: its pipelines have as defaults what its state machines would pass to stages.

        Args:
            settings: the settings file, for what only pipelines have.
            parameters: the stack's parameters.
            outputs: the stack's outputs.

        Raises:
            InputError: the stack is not made for pipelines.
        """
        if "PipelineRole" not in outputs:
            raise InputError("the stack has no PipelineRole: deploy it with Engine=SageMakerPipelines first")
        return replace(
            cls.of(settings),
            name=parameters["Name"],
            role=outputs["PipelineRole"],
            kms_key=outputs["KmsKeySetting"],
            subnets=_listed(outputs.get("SubnetsSetting", "")),
            security_groups=_listed(outputs.get("SecurityGroupsSetting", "")),
            network_isolation=parameters["NetworkIsolation"] == "true",
            instances={"processing": parameters["ProcessingInstance"], "training": parameters["TrainingInstance"]},
            settings=_stack_settings(parameters, outputs),
            endpoint="",  # the stack's settings name it
        )

    def pipeline(self, workflow: str) -> str:
        """Return the name of a workflow's pipeline, in lower case as SageMaker's ARNs have it."""
        return f"{self.name.lower()}-{WORKFLOWS[workflow].pipeline}"

    @property
    def model_packages(self) -> str:
        """Return the name of the group in which models are registered."""
        return f"{self.name.lower()}-{MODEL_PACKAGES}"

    def tag_list(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]] | None:
        """Return the tags in the form of requests, with the names of the members that the SDK's classes expect."""
        return [{key: name, value: text} for name, text in self.tags.items()] or None

    def defaults(self, serving_image: str) -> dict[str, str]:
        """Return the defaults of a pipeline's parameters; an endpoint gets the role, key and network of the jobs."""
        endpoint = {
            "serving_image": serving_image,
            "role": self.role,
            "kms_key": self.kms_key,
            "subnets": ",".join(self.subnets),
            "security_groups": ",".join(self.security_groups),
            "network_isolation": str(self.network_isolation).lower(),
            "deploy_model_endpoint": self.endpoint,
            "fraud_scoring_endpoint": f"sagemaker://{self.endpoint}" if self.endpoint else "",
        }
        values = {title(name): value for name, value in endpoint.items()}
        return values | by_name((title(name), value) for name, value in self.settings)

    def instance(self, platform: str) -> str:
        """Return the instance type of a platform's jobs."""
        return self.instances.get(platform, INSTANCE)

    def network(self, *, needs_s3: bool) -> dict[str, object]:
        """Return a job's network options; only a job that neither reads nor deletes in S3 can run without a network."""
        return {
            "subnets": list(self.subnets) or None,
            "security_group_ids": list(self.security_groups) or None,
            "enable_network_isolation": (self.network_isolation and not needs_s3) or None,
        }


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _stack_settings(parameters: Mapping[str, str], outputs: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return every setting that a stack has: what it knows itself is an output, the others are parameters.

    A setting without either is empty, or decided by each execution.
    """
    deployed = {"data": outputs["Data"], "root": outputs["Root"]}
    for name in plan.settings():
        if title(name) in parameters:
            deployed[name] = parameters[title(name)]
        elif f"{title(name)}Setting" in outputs:
            deployed[name] = outputs[f"{title(name)}Setting"]
    return tuple(deployed.items())
