"""Parameters and conditions of the stack, and the values that follow from them."""

from __future__ import annotations

from typing import Any

from fraudline.catalog.plan import settings, title
from fraudline.catalog.stage import Parameter
from fraudline.catalog.stages import IMAGES, NOW, REPLACE
from fraudline.orchestration.stack.intrinsics import Value, attribute, choose, equals, join, negate, ref, sub

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
    "HasEmail": negate(equals(ref("OperationsEmail"), "")),
}


def parameters() -> dict[str, dict[str, Any]]:
    """Return every parameter: the deployment's, the stack's, and the settings of stages."""
    return {**_deployment(), **_stack(), **stage_parameters()}


def stage_parameters() -> dict[str, dict[str, Any]]:
    """Return the settings of stages that the stack does not know itself, as parameters."""
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
    text = setting.description[0].upper() + setting.description[1:]
    named = isinstance(setting.default, bool) or setting.unit.lower() in text.lower()
    return text if named else f"{text} ({setting.unit})"


def _text(description: str, default: str | None = None, **limits: Any) -> dict[str, Any]:
    given = {} if default is None else {"Default": default}
    return {"Type": "String", **given, **limits, "Description": description}


def _number(description: str, default: int, **limits: Any) -> dict[str, Any]:
    return {"Type": "Number", "Default": default, **limits, "Description": description}


def _deployment() -> dict[str, dict[str, Any]]:
    """Return what make deploy fills in."""
    return {
        "Name": _text(
            "Prefix of every name, so that stacks can coexist", "fraud", AllowedPattern="[a-z][a-z0-9-]{0,19}"
        ),
        "ArtifactsBucket": _text("Bucket with the uploaded state machines, Glue scripts and wheel"),
        "ArtifactsPrefix": _text("Prefix of this version in that bucket"),
        "Wheel": _text("File name of the wheel there"),
        "GlueModules": _text("Pinned packages that Glue installs besides the wheel, separated by commas"),
        **{f"{image.title()}Image": _text(f"Image {image} in ECR, by digest") for image in IMAGES},
    }


def _stack() -> dict[str, dict[str, Any]]:
    return {
        "Engine": _text(
            "What the schedules start; pipeline.py upsert creates the pipelines",
            "StepFunctions",
            AllowedValues=["StepFunctions", "SageMakerPipelines"],
        ),
        "DailyMode": _text(
            "EXPRESS: Lambda functions, for days that take less than five minutes; STANDARD: Processing jobs",
            "EXPRESS",
            AllowedValues=["EXPRESS", "STANDARD"],
        ),
        "Timezone": _text("Time zone of both schedules", "UTC"),
        "TrainingCron": _text("Sundays at 2 AM; monthly is cron(0 2 1 * ? *)", "cron(0 2 ? * SUN *)"),
        "DailyCron": _text("Every day at 6 AM", "cron(0 6 * * ? *)"),
        "TransactionSource": _text(
            "Source of the events with detail type Transaction that are scored one by one", "bank.transactions"
        ),
        "OperationsEmail": _text("Address that receives failures and alarms, or empty", ""),
        "KmsKeyArn": _text(
            "Key for everything that is stored; its policy must admit the same services as the stack's own key. "
            "Empty: create one",
            "",
        ),
        "SubnetIds": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Private subnets for functions and jobs, or empty",
        },
        "SecurityGroupIds": {
            "Type": "CommaDelimitedList",
            "Default": "",
            "Description": "Security groups in those subnets",
        },
        "AnswerSeconds": _number("An investigation without an answer is escalated after this time", 86_400),
        "EscalationSeconds": _number("An escalated investigation fails after this time without an answer", 172_800),
        "LogRetentionDays": _number("How long logs are kept", 90, AllowedValues=[30, 60, 90, 180, 365, 400, 731]),
        "Hosting": _text(
            "Endpoint: keep an endpoint running; None: score in process, which costs nothing between runs",
            "None",
            AllowedValues=["None", "Endpoint"],
        ),
        "EndpointName": _text("Name of that endpoint", "fraud-detection-model-v1"),
        "ProcessingInstance": _text("Instance type of Processing jobs", "ml.m5.xlarge"),
        "TrainingInstance": _text("Instance type of Training jobs", "ml.m5.xlarge"),
        "GlueWorkers": _number("Workers of type G.1X for each Glue job", 5),
    }
