"""A model on a SageMaker endpoint: deployed, tried, and where it fails the one before it is back.

Models and endpoint configurations have names made from what they hold, so that a rerun finds what an earlier
run made and never changes it. An endpoint is one of three: it is not there, it changes, or it is settled.
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
POLL, POLLS = 15.0, 240  # seconds, and how often: an hour
VARIANT = "model"


@dataclass(frozen=True)
class Hosting:
    """Where and as whom a model is served; what is empty is left to SageMaker."""

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
    """A model in service."""

    arn: str
    status: str
    configuration: str


def deploy(
    hosting: Hosting, version: str, archive: str, content: str, before: str | None, try_out: Callable[[], Any]
) -> Deployed:
    """Put a model behind the endpoint and try it; a rerun goes on where an earlier one was killed.

    Args:
        hosting: where and as whom.
        version: the model's.
        archive: s3:// address of its model.tar.gz.
        content: a hash of what is in it.
        before: the configuration to go back to where an earlier run has put this one in place already, or None.
        try_out: asks the endpoint; raises where its answers are not right.

    Raises:
        InputError: the model does not start or is not right; the endpoint is as it was before.
        TemporaryError: there is no capacity now, or the endpoint is still changing.
    """
    configuration = _configure(hosting, version, archive, content)
    found = _settled(hosting.endpoint)
    if found and found["EndpointStatus"] == "InService" and found["EndpointConfigName"] != configuration:
        before = str(found["EndpointConfigName"])
    _point(hosting.endpoint, configuration)
    _settled(hosting.endpoint)
    try:
        deployed = _in_service(hosting.endpoint, configuration)
        try_out()
    except Exception as error:
        restored = _restore(hosting.endpoint, before)
        told = f"endpoint '{hosting.endpoint}' does not serve {version}: {error}; {restored}"
        if isinstance(error, InputError | TemporaryError):
            raise type(error)(told) from error
        _log.warning("endpoint '%s': %s", hosting.endpoint, restored)
        raise
    return deployed


def _configure(hosting: Hosting, version: str, archive: str, content: str) -> str:
    """Make the model and the endpoint configuration, or find them made; the configuration's name."""
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
    _made("model", "ModelName", model)
    _made("endpoint_config", "EndpointConfigName", configuration)
    return str(configuration["EndpointConfigName"])


def _name(version: str, *content: Any) -> str:
    """The same for the same content; at most 63 characters, letters, digits and hyphens."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"fraudline-{version}-{digest[:12]}"


def _made(kind: str, key: str, request: dict[str, Any]) -> None:
    """Create what is not there: its name stands for its content."""
    if _described(kind, key, request[key]) is None:
        getattr(_client(), f"create_{kind}")(**request)


def _described(kind: str, key: str, name: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = getattr(_client(), f"describe_{kind}")(**{key: name})
    except _client().exceptions.ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise
    return answer


def _endpoint(name: str) -> dict[str, Any] | None:
    return _described("endpoint", "EndpointName", name)


def _settled(name: str) -> dict[str, Any] | None:
    """The endpoint once it no longer changes; None where there is none."""
    for _ in range(POLLS):
        found = _endpoint(name)
        if found is None or found["EndpointStatus"] not in CHANGING:
            return found
        time.sleep(POLL)
    raise TemporaryError("it still changes after an hour; run the stage again, it goes on where it stands")


def _point(name: str, configuration: str) -> None:
    """Have a settled endpoint take a configuration, unless it has it."""
    found = _endpoint(name)
    if found and found["EndpointStatus"] != "InService":
        # A failed endpoint can only be deleted.
        _client().delete_endpoint(EndpointName=name)
        found = _settled(name)
    request = {"EndpointName": name, "EndpointConfigName": configuration}
    if found is None:
        _client().create_endpoint(**request)
    elif found["EndpointConfigName"] != configuration:
        _client().update_endpoint(**request)


def _in_service(name: str, configuration: str) -> Deployed:
    found = _settled(name)
    if found is None:
        raise TemporaryError("somebody deleted it meanwhile; run the stage again")
    if found["EndpointStatus"] != "InService" or found["EndpointConfigName"] != configuration:
        reason = found.get("FailureReason", "SageMaker gave no reason")
        if "capacity" in reason.lower():
            raise TemporaryError(f"{reason}; run the stage again later, or name another --serving-instance")
        raise InputError(f"{reason}; the endpoint's log in CloudWatch tells more")
    return Deployed(found["EndpointArn"], found["EndpointStatus"], configuration)


def _restore(name: str, configuration: str | None) -> str:
    """Bring back what was there before; says what was done."""
    found = _settled(name)
    if configuration is None:
        if found:
            _client().delete_endpoint(EndpointName=name)
            _settled(name)
        return "there was none before, and it is deleted"
    _point(name, configuration)
    found = _settled(name)
    status = found["EndpointStatus"] if found else "gone"
    return f"it has its previous configuration {configuration} again and is {status}"


def _client() -> Any:
    return aws.client("sagemaker")
