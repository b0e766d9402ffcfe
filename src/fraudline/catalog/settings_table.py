"""The single table of keys of a settings file; the reader, ``fraudline init`` and docs/settings.md use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from zoneinfo import available_timezones

from fraudline.catalog import plan
from fraudline.catalog.parsing import number
from fraudline.catalog.stage import Parameter

Kind = Literal["text", "location", "file", "integer", "number", "boolean", "list", "table"]

# The tools that read settings.
RUN, PIPELINE, DEPLOY = "fraudline run", "pipeline.py", "make deploy"


def text_of(value: Any) -> str:
    """Return a value in the form of ``--set NAME=VALUE`` and of CloudFormation parameters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(pairs_of(value))
    return str(value)


def pairs_of(table: Mapping[str, str]) -> list[str]:
    """Return the entries of a table as NAME=VALUE."""
    return [f"{name}={value}" for name, value in table.items()]


@dataclass(frozen=True)
class Setting:
    """One key of the file.

    Attributes:
        section: the TOML table that contains it.
        key: its name in that table.
        kind: the kind of its value; a location or a file is relative to the settings file.
        default: the value if the file does not set it.
        unit: the unit of its value, or the form of a text.
        description: what it decides.
        parse: parses the text of its value, or of each value of a list or table; raises ValueError.
        tools: the tools that read it.
        parameter: the stage setting that it sets, or empty if it sets none.
        cloudformation: the stack's parameter, or empty if the stack has none.
        stack_text: converts its value to text for the stack.
    """

    section: str
    key: str
    kind: Kind
    default: Any
    unit: str
    description: str
    parse: Callable[[str], Any] = str
    tools: tuple[str, ...] = (DEPLOY,)
    parameter: str = ""
    cloudformation: str = ""
    stack_text: Callable[[Any], str] = text_of

    @property
    def name(self) -> str:
        """Return the section and the key in the form that errors show."""
        return f"[{self.section}] {self.key}"


# Parsers of settings that no stage has


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return text

    return parse


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return parse


def _log_days(text: str) -> int:
    # CloudWatch Logs accepts these and a few more.
    choices = (30, 60, 90, 180, 365, 400, 731)
    if int(text) not in choices:
        raise ValueError(f"expected one of {', '.join(str(days) for days in choices)}")
    return int(text)


def _time_zone(text: str) -> str:
    zones = available_timezones()
    if zones and text not in zones:  # without a time zone database on this computer, the name can't be checked
        raise ValueError("expected an IANA time zone, such as Europe/Berlin")
    return text


_COUNT = number(int, 1)
_INSTANCE = _matching(r"ml\.[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+", "a SageMaker instance type, such as ml.m5.xlarge")
_CRON = _matching(r"(cron|rate|at)\(.+\)", "a schedule such as cron(0 6 * * ? *)")
_ROLE = _matching(r"arn:[\w-]+:iam::\d{12}:role/.+", "a role's ARN, such as arn:aws:iam::123456789012:role/fraud")
_KEY = _matching(r"arn:[\w-]+:kms:[\w-]+:\d{12}:.+", "a key's ARN, such as arn:aws:kms:eu-west-1:123456789012:key/…")
_NAME = _matching(r"[A-Za-z][A-Za-z0-9-]{0,19}", "up to 20 letters, digits and hyphens, a letter first")
_ENDPOINT = _matching(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}", "up to 63 letters, digits and hyphens")


def _hosting(hosted: bool) -> str:
    return "Endpoint" if hosted else "None"


# Stage settings that the stack or an execution decides, and that this file therefore does not hold.
DECIDED_ELSEWHERE: Mapping[str, str] = {
    "replace": "each execution",
    "now": "each execution",
    "table": "the stack",
    "topic": "the stack",
    "investigation": "the stack",
    "serving_image": "the published images",
    "deploy_model_endpoint": "[aws] host_endpoint and endpoint_name",
    "fraud_scoring_endpoint": "[aws] host_endpoint and endpoint_name",
}
# Stage settings that belong to another section than [parameters].
_SITE_PARAMETERS = (
    "column",
    "role",
    "kms_key",
    "subnets",
    "security_groups",
    "network_isolation",
    "serving_instance",
    "serving_instances",
)


def _parameter(name: str, parameter: Parameter) -> Setting:
    kinds: Mapping[type, Kind] = {bool: "boolean", int: "integer", float: "number"}
    return Setting(
        "parameters",
        name,
        "list" if parameter.many else kinds.get(type(parameter.default), "text"),
        list(parameter.default) if parameter.many else parameter.default,
        parameter.unit,
        parameter.description,
        parameter.type,
        (RUN, PIPELINE, DEPLOY),
        name,
        plan.title(name),
    )


def _table() -> tuple[Setting, ...]:
    stage_settings = plan.settings()
    column, instances = stage_settings["column"], stage_settings["serving_instances"]
    return (
        Setting(
            "site",
            "data",
            "location",
            "",
            "folder or s3:// URI",
            "location of raw/ and labeled/",
            tools=(RUN, PIPELINE),
        ),
        Setting(
            "site",
            "root",
            "location",
            "var/fraudline",
            "folder or s3:// URI",
            "location of all outputs",
            tools=(RUN, PIPELINE),
        ),
        Setting(
            "site",
            "name",
            "text",
            "fraud",
            "prefix",
            "prefix of every name on AWS, so that two stacks can coexist; buckets have it in lower case",
            _NAME,
            (PIPELINE, DEPLOY),
            cloudformation="Name",
        ),
        Setting(
            "site",
            "time_zone",
            "text",
            "UTC",
            "IANA time zone",
            "time zone of both schedules",
            _time_zone,
            cloudformation="Timezone",
        ),
        Setting(
            "input",
            "columns",
            "table",
            {},
            column.unit.replace("=", " = "),
            'columns that have another name in the input, such as merchant = "TERMINAL_ID"',
            column.type,
            (RUN, PIPELINE, DEPLOY),
            "column",
            plan.title("column"),
        ),
        *(
            _parameter(name, parameter)
            for name, parameter in stage_settings.items()
            if name not in DECIDED_ELSEWHERE and name not in _SITE_PARAMETERS
        ),
        Setting("aws", "role", "text", "", "ARN", "the role that the jobs run as", _ROLE, (PIPELINE,)),
        Setting(
            "aws",
            "kms_key",
            "text",
            "",
            "ARN",
            "key for all stored data; without it, the stack creates one",
            _KEY,
            (PIPELINE, DEPLOY),
            cloudformation="KmsKeyArn",
        ),
        Setting(
            "aws",
            "subnets",
            "list",
            [],
            "subnet ids",
            "private subnets for everything that runs",
            _matching(r"subnet-[0-9a-z-]+", "a subnet's id, such as subnet-0a1b2c3d"),
            (PIPELINE, DEPLOY),
            cloudformation="SubnetIds",
        ),
        Setting(
            "aws",
            "security_groups",
            "list",
            [],
            "security group ids",
            "security groups in those subnets",
            _matching(r"sg-[0-9a-z-]+", "a security group's id, such as sg-0a1b2c3d"),
            (PIPELINE, DEPLOY),
            cloudformation="SecurityGroupIds",
        ),
        Setting(
            "aws",
            "network_isolation",
            "boolean",
            False,
            "true or false",
            "no network for what needs none: training in pipelines, and the endpoint's container",
            tools=(PIPELINE, DEPLOY),
            cloudformation="NetworkIsolation",
        ),
        Setting(
            "aws",
            "spot",
            "boolean",
            False,
            "true or false",
            "train on spot instances, with checkpoints",
            tools=(PIPELINE,),
        ),
        Setting("aws", "tags", "table", {}, "key = value", "tags of the pipelines and their jobs", tools=(PIPELINE,)),
        Setting(
            "aws",
            "images",
            "file",
            None,
            "JSON file",
            "file of make publish that pins the images; make deploy reads dist/images.json without it",
            tools=(PIPELINE, DEPLOY),
        ),
        Setting(
            "aws",
            "processing_instance",
            "text",
            "ml.m5.xlarge",
            "instance type",
            "instance type of Processing jobs",
            _INSTANCE,
            (PIPELINE, DEPLOY),
            cloudformation="ProcessingInstance",
        ),
        Setting(
            "aws",
            "training_instance",
            "text",
            "ml.m5.xlarge",
            "instance type",
            "instance type of Training jobs",
            _INSTANCE,
            (PIPELINE, DEPLOY),
            cloudformation="TrainingInstance",
        ),
        Setting(
            "aws",
            "host_endpoint",
            "boolean",
            False,
            "true or false",
            "true: host the champion on an endpoint that is always on; false: score in process",
            tools=(PIPELINE, DEPLOY),
            cloudformation="Hosting",
            stack_text=_hosting,
        ),
        Setting(
            "aws",
            "endpoint_name",
            "text",
            "fraud-detection-model-v1",
            "name",
            "name of the endpoint",
            _ENDPOINT,
            (PIPELINE, DEPLOY),
            cloudformation="EndpointName",
        ),
        Setting(
            "aws",
            "serving_instance",
            "text",
            stage_settings["serving_instance"].default,
            "instance type",
            "instance type of the endpoint",
            _INSTANCE,
            (PIPELINE, DEPLOY),
            cloudformation="ServingInstance",
        ),
        Setting(
            "aws",
            "serving_instances",
            "integer",
            instances.default,
            instances.unit,
            instances.description,
            instances.type,
            (PIPELINE, DEPLOY),
            cloudformation="ServingInstances",
        ),
        Setting(
            "aws",
            "glue_workers",
            "integer",
            5,
            "workers",
            "workers of type G.1X of each Glue job",
            number(int, 2),
            cloudformation="GlueWorkers",
        ),
        Setting(
            "aws",
            "function_memory",
            "integer",
            3008,
            "MB",
            "memory of each Lambda function of a day; new accounts allow at most 3008",
            number(int, 128, 10_240),
            cloudformation="FunctionMemory",
        ),
        Setting(
            "aws",
            "realtime_memory",
            "integer",
            2048,
            "MB",
            "memory of each Lambda function of single transactions; new accounts allow at most 3008",
            number(int, 128, 10_240),
            cloudformation="RealtimeMemory",
        ),
        Setting(
            "schedule",
            "engine",
            "text",
            "StepFunctions",
            "",
            "what the schedules start: StepFunctions or SageMakerPipelines",
            _one_of("StepFunctions", "SageMakerPipelines"),
            cloudformation="Engine",
        ),
        Setting(
            "schedule",
            "daily_mode",
            "text",
            "EXPRESS",
            "",
            "EXPRESS: Lambda functions, for a day that takes less than five minutes; STANDARD: Processing jobs",
            _one_of("EXPRESS", "STANDARD"),
            cloudformation="DailyMode",
        ),
        Setting(
            "schedule",
            "training_cron",
            "text",
            "cron(0 2 ? * SUN *)",
            "schedule expression",
            "when training starts; monthly is cron(0 2 1 * ? *)",
            _CRON,
            cloudformation="TrainingCron",
        ),
        Setting(
            "schedule",
            "daily_cron",
            "text",
            "cron(0 6 * * ? *)",
            "schedule expression",
            "when the daily run starts",
            _CRON,
            cloudformation="DailyCron",
        ),
        Setting(
            "operations",
            "operations_email",
            "text",
            "",
            "email address",
            "address that receives failures and alarms",
            _matching(r"[^@\s]+@[^@\s]+", "an email address"),
            cloudformation="OperationsEmail",
        ),
        Setting(
            "operations",
            "log_retention_days",
            "integer",
            90,
            "days",
            "how long logs are kept: 30, 60, 90, 180, 365, 400 or 731",
            _log_days,
            cloudformation="LogRetentionDays",
        ),
        Setting(
            "operations",
            "transaction_source",
            "text",
            "bank.transactions",
            "event source",
            "source of the events with detail type Transaction that are scored one by one",
            cloudformation="TransactionSource",
        ),
        Setting(
            "operations",
            "answer_seconds",
            "integer",
            86_400,
            "seconds",
            "escalate an investigation that has no answer after this time",
            _COUNT,
            cloudformation="AnswerSeconds",
        ),
        Setting(
            "operations",
            "escalation_seconds",
            "integer",
            172_800,
            "seconds",
            "end an escalated investigation that has no answer after this further time",
            _COUNT,
            cloudformation="EscalationSeconds",
        ),
    )


SETTINGS: Mapping[tuple[str, str], Setting] = {(setting.section, setting.key): setting for setting in _table()}
SECTIONS = tuple(dict.fromkeys(section for section, _ in SETTINGS))
