"""Deploy a model to a SageMaker endpoint, smoke-test it, and restore its predecessor if it fails.

The names of models and endpoint configurations are derived from their content, so a rerun finds what an
earlier run created and never changes it. An endpoint is in one of three states: it does not exist, it is
changing, or it is settled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.runtime import aws, aws_errors

_log = logging.getLogger(__name__)

CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
POLL, POLLS = 15.0, 240  # seconds between polls, and their number: one hour in total
VARIANT = "model"


@dataclass(frozen=True)
class Hosting:
    """How an endpoint serves a model; empty values leave the choice to SageMaker.

    Attributes:
        endpoint: the name of the endpoint.
        image: the URI of the score image in ECR.
        role: the ARN of the role that it runs as.
        instance: the instance type.
        instances: the number of instances.
        kms_key: the ARN of the key for its volumes.
        subnets: the ids of its subnets.
        security_groups: the ids of its security groups.
        network_isolation: whether its container has no network.
    """

    endpoint: str
    image: str
    role: str
    instance: str
    instances: int
    kms_key: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False


@dataclass(frozen=True)
class Deployed:
    """An endpoint in service: its ARN, its status and the name of its configuration."""

    arn: str
    status: str
    configuration: str


def deploy(
    hosting: Hosting, version: str, archive: str, content: str, previous: str | None, smoke_test: Callable[[], Any]
) -> Deployed:
    """Deploy a model to its endpoint and smoke-test it; a rerun continues after an interrupted run.

    Args:
        hosting: how to serve the model.
        version: the model's version.
        archive: the s3:// URI of its model.tar.gz.
        content: a hash of the archive's content.
        previous: the configuration to return to if the endpoint already has this model from an earlier run.
        smoke_test: calls the endpoint, and raises InputError if an answer is wrong.

    Raises:
        InputError: the model does not start, or an answer is wrong; the previous state was restored.
        TemporaryError: there is no capacity now, or the endpoint is still changing.
    """
    configuration = _ensure_configuration(hosting, version, archive, content)
    current = _settled(hosting.endpoint)
    if current and current["EndpointStatus"] == "InService" and current["EndpointConfigName"] != configuration:
        previous = str(current["EndpointConfigName"])
    _point(hosting.endpoint, configuration)
    _settled(hosting.endpoint)
    try:
        deployed = _in_service(hosting.endpoint, configuration)
        smoke_test()
    except Exception as error:
        restored = _restore(hosting.endpoint, previous)
        if isinstance(error, InputError | TemporaryError):
            message = f"endpoint '{hosting.endpoint}' does not serve {version}: {error}; {restored}"
            raise type(error)(message) from error
        _log.warning("endpoint '%s': %s", hosting.endpoint, restored)
        raise
    return deployed


def _ensure_configuration(hosting: Hosting, version: str, archive: str, content: str) -> str:
    """Create the model and the endpoint configuration unless they exist; return the configuration's name."""
    model: dict[str, Any] = {
        "PrimaryContainer": {"Image": hosting.image, "Mode": "SingleModel", "ModelDataUrl": archive},
        "ExecutionRoleArn": hosting.role,
        "EnableNetworkIsolation": hosting.network_isolation,
    }
    if hosting.subnets:
        model["VpcConfig"] = {"Subnets": [*hosting.subnets], "SecurityGroupIds": [*hosting.security_groups]}
    model["ModelName"] = _name(version, model, content)
    variant = {
        "VariantName": VARIANT,
        "ModelName": model["ModelName"],
        "InstanceType": hosting.instance,
        "InitialInstanceCount": hosting.instances,
        "InitialVariantWeight": 1.0,
    }
    configuration: dict[str, Any] = {"ProductionVariants": [variant]}
    if hosting.kms_key:
        configuration["KmsKeyId"] = hosting.kms_key
    configuration["EndpointConfigName"] = _name(version, configuration)
    _ensure("model", "ModelName", model)
    _ensure("endpoint_config", "EndpointConfigName", configuration)
    return str(configuration["EndpointConfigName"])


def _name(version: str, *content: Any) -> str:
    """Return a name that depends only on the content, within SageMaker's limit of 63 letters, digits and hyphens."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"fraudline-{version}-{digest[:12]}"


def _ensure(kind: str, key: str, request: dict[str, Any]) -> None:
    """Create a resource unless it exists; an existing one has the same content, because its name contains the hash."""
    if _describe(kind, key, request[key]) is None:
        getattr(_client(), f"create_{kind}")(**request)


def _describe(kind: str, key: str, name: str) -> dict[str, Any] | None:
    """Return a resource's description, or None if it does not exist."""
    try:
        description: dict[str, Any] = getattr(_client(), f"describe_{kind}")(**{key: name})
    except _client().exceptions.ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise
    return description


def _describe_endpoint(name: str) -> dict[str, Any] | None:
    return _describe("endpoint", "EndpointName", name)


def _settled(name: str) -> dict[str, Any] | None:
    """Wait until an endpoint no longer changes; return its description, or None if it does not exist."""
    for _ in range(POLLS):
        endpoint = _describe_endpoint(name)
        if endpoint is None or endpoint["EndpointStatus"] not in CHANGING:
            return endpoint
        time.sleep(POLL)
    raise TemporaryError("it is still changing after an hour; run the stage again, which continues from there")


def _point(name: str, configuration: str) -> None:
    """Start changing a settled endpoint to a configuration, unless it already has it."""
    endpoint = _describe_endpoint(name)
    if endpoint and endpoint["EndpointStatus"] != "InService":
        # A failed endpoint can only be deleted; SageMaker allows no other operation.
        _client().delete_endpoint(EndpointName=name)
        endpoint = _settled(name)
    request = {"EndpointName": name, "EndpointConfigName": configuration}
    if endpoint is None:
        _client().create_endpoint(**request)
    elif endpoint["EndpointConfigName"] != configuration:
        _client().update_endpoint(**request)


def _in_service(name: str, configuration: str) -> Deployed:
    """Wait for the endpoint, and check that it serves the configuration.

    Raises:
        InputError: the model did not start.
        TemporaryError: there is no capacity now, or the endpoint was deleted.
    """
    endpoint = _settled(name)
    if endpoint is None:
        raise TemporaryError("it was deleted during the deployment; run the stage again")
    if endpoint["EndpointStatus"] != "InService" or endpoint["EndpointConfigName"] != configuration:
        reason = endpoint.get("FailureReason", "SageMaker gave no reason")
        if "capacity" in reason.lower():
            raise TemporaryError(f"{reason}; run the stage again later, or name another --serving-instance")
        raise InputError(f"{reason}; the endpoint's log in CloudWatch has the details")
    return Deployed(endpoint["EndpointArn"], endpoint["EndpointStatus"], configuration)


def _restore(name: str, configuration: str | None) -> str:
    """Restore an endpoint's previous configuration, or delete an endpoint that had none; return what was done."""
    endpoint = _settled(name)
    if configuration is None:
        if endpoint:
            _client().delete_endpoint(EndpointName=name)
            _settled(name)
        return "there was none before, and it is deleted"
    _point(name, configuration)
    endpoint = _settled(name)
    status = endpoint["EndpointStatus"] if endpoint else "gone"
    return f"it has its previous configuration {configuration} again and is {status}"


def _client() -> Any:
    return aws.client("sagemaker")
