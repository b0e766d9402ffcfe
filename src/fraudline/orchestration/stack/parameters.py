"""Parameters and conditions of the stack, and the values that follow from them."""

from __future__ import annotations

from typing import Any

from fraudline.catalog.plan import settings, title
from fraudline.catalog.settings_table import SETTINGS
from fraudline.catalog.stage import Parameter
from fraudline.catalog.stages import IMAGES, NOW, REPLACE
from fraudline.orchestration.stack.intrinsics import Value, attribute, both, choose, equals, join, negate, ref, sub

# What the stack itself knows, by the name of the setting. Each execution decides about replacing and the clock.
KNOWN: dict[str, Value] = {
    "table": sub("dynamodb://${ScoresTable}"),
    "topic": ref("AlertsTopic"),
    "investigation": ref("InvestigationMachine"),
    "serving_image": ref("ScoreImage"),
    "role": attribute("ServingRole"),
    "kms_key": choose("MakeKey", attribute("Key"), ref("KmsKeyArn")),
    "subnets": join(",", ref("SubnetIds")),
    "security_groups": join(",", ref("SecurityGroupIds")),
    "deploy_model_endpoint": choose("HasEndpoint", ref("EndpointName"), ""),
    "fraud_scoring_endpoint": choose("HasEndpoint", sub("sagemaker://${EndpointName}"), ""),
}
PER_EXECUTION = {REPLACE.name, NOW.name}
# The key of everything that is stored.
KEY = KNOWN["kms_key"]

CONDITIONS = {
    "MakeKey": equals(ref("KmsKeyArn"), ""),
    "InVpc": negate(equals(join("", ref("SubnetIds")), "")),
    "Pipelines": equals(ref("Engine"), "SageMakerPipelines"),
    "Express": equals(ref("DailyMode"), "EXPRESS"),
    "HasEndpoint": equals(ref("Hosting"), "Endpoint"),
    "PipelinesInVpc": both("Pipelines", "InVpc"),
    "PipelinesWithEndpoint": both("Pipelines", "HasEndpoint"),
    "HasEmail": negate(equals(ref("OperationsEmail"), "")),
}


# What only the stack states about a parameter.
_OWN: dict[str, dict[str, Any]] = {
    "Name": {"AllowedPattern": "[A-Za-z][A-Za-z0-9-]{0,19}"},
    "Engine": {"AllowedValues": ["StepFunctions", "SageMakerPipelines"]},
    "DailyMode": {"AllowedValues": ["EXPRESS", "STANDARD"]},
    "LogRetentionDays": {"AllowedValues": [30, 60, 90, 180, 365, 400, 731]},
    "Hosting": {
        "AllowedValues": ["None", "Endpoint"],
        "Description": "Endpoint: host the champion on an endpoint that is always on; None: score in process",
    },
}


def parameters() -> dict[str, dict[str, Any]]:
    """Return every parameter: the deployment's, the site's, and the settings of stages."""
    return {**_deployment(), **_site(), **_stages()}


def _deployment() -> dict[str, dict[str, Any]]:
    """Return what make deploy fills in."""
    descriptions = {
        "BucketPrefix": "Prefix of the buckets' names: Name in lower case",
        "ArtifactsBucket": "Bucket with the uploaded state machines, Glue scripts and wheel",
        "ArtifactsPrefix": "Prefix of this version in that bucket",
        "Wheel": "File name of the wheel in it",
        "GlueModules": "Pinned packages that Glue installs besides the wheel, separated by commas",
        **{f"{image.title()}Image": f"Image {image} in ECR, by digest" for image in IMAGES},
    }
    return {name: {"Type": "String", "Description": text} for name, text in descriptions.items()}


def _site() -> dict[str, dict[str, Any]]:
    """Return what the settings file sets for the stack, other than the settings of stages."""
    types = {"integer": "Number", "list": "CommaDelimitedList"}
    return {
        setting.cloudformation: {
            "Type": types.get(setting.kind, "String"),
            "Default": setting.default if setting.kind == "integer" else setting.stack_text(setting.default),
            "Description": _sentence(setting.description),
            **_OWN.get(setting.cloudformation, {}),
        }
        for setting in SETTINGS.values()
        if setting.cloudformation and not setting.parameter
    }


def _stages() -> dict[str, dict[str, Any]]:
    """Return the settings of stages that the stack does not know itself."""
    return {
        title(name): _parameter(setting)
        for name, setting in settings().items()
        if name not in KNOWN and name not in PER_EXECUTION
    }


def _parameter(setting: Parameter) -> dict[str, Any]:
    default, description = setting.default, {"Description": _described(setting)}
    if isinstance(default, bool):
        return {"Type": "String", "Default": setting.default_text, "AllowedValues": ["false", "true"], **description}
    if isinstance(default, int | float):
        return {"Type": "Number", "Default": default, **description}
    return {"Type": "String", "Default": setting.default_text, **description}


def _described(setting: Parameter) -> str:
    """Return the catalog's description, and the unit where the description does not name it."""
    text = _sentence(setting.description)
    named = isinstance(setting.default, bool) or setting.unit.lower() in text.lower()
    return text if named else f"{text} ({setting.unit})"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
