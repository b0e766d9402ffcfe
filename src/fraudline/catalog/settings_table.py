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
        kind="list" if parameter.many else kinds.get(type(parameter.default), "text"),
        default=list(parameter.default) if parameter.many else parameter.default,
        unit=parameter.unit,
        description=parameter.description,
        parse=parameter.type,
        tools=(RUN, PIPELINE, DEPLOY),
        parameter=name,
        cloudformation=plan.title(name),
    )


def _site() -> tuple[Setting, ...]:
    """Return the settings of [site]."""
    return (
        Setting(
            "site",
            "data",
            kind="location",
            default="",
            unit="folder or s3:// URI",
            description="location of raw/ and labeled/",
            tools=(RUN, PIPELINE),
        ),
        Setting(
            "site",
            "root",
            kind="location",
            default="var/fraudline",
            unit="folder or s3:// URI",
            description="location of all outputs",
            tools=(RUN, PIPELINE),
        ),
        Setting(
            "site",
            "name",
            kind="text",
            default="fraud",
            unit="prefix",
            description="prefix of every name on AWS, so that two stacks can coexist; buckets have it in lower case",
            parse=_NAME,
            tools=(PIPELINE, DEPLOY),
            cloudformation="Name",
        ),
        Setting(
            "site",
            "time_zone",
            kind="text",
            default="UTC",
            unit="IANA time zone",
            description="time zone of both schedules",
            parse=_time_zone,
            cloudformation="Timezone",
        ),
    )


def _input() -> tuple[Setting, ...]:
    """Return the settings of [input]."""
    column = plan.settings()["column"]
    return (
        Setting(
            "input",
            "columns",
            kind="table",
            default={},
            unit=column.unit.replace("=", " = "),
            description='columns that have another name in the input, such as merchant = "TERMINAL_ID"',
            parse=column.type,
            tools=(RUN, PIPELINE, DEPLOY),
            parameter="column",
            cloudformation=plan.title("column"),
        ),
    )


def _parameters() -> tuple[Setting, ...]:
    """Return the settings of [parameters], derived from the stages."""
    elsewhere = {*DECIDED_ELSEWHERE, *_SITE_PARAMETERS}
    return tuple(_parameter(name, parameter) for name, parameter in plan.settings().items() if name not in elsewhere)


def _aws() -> tuple[Setting, ...]:
    """Return the settings of [aws]."""
    stage_settings = plan.settings()
    instances = stage_settings["serving_instances"]
    return (
        Setting(
            "aws",
            "role",
            kind="text",
            default="",
            unit="ARN",
            description="the role that the jobs run as",
            parse=_ROLE,
            tools=(PIPELINE,),
        ),
        Setting(
            "aws",
            "kms_key",
            kind="text",
            default="",
            unit="ARN",
            description="key for all stored data; without it, the stack creates one",
            parse=_KEY,
            tools=(PIPELINE, DEPLOY),
            cloudformation="KmsKeyArn",
        ),
        Setting(
            "aws",
            "subnets",
            kind="list",
            default=[],
            unit="subnet ids",
            description="private subnets for everything that runs",
            parse=_matching(r"subnet-[0-9a-z-]+", "a subnet's id, such as subnet-0a1b2c3d"),
            tools=(PIPELINE, DEPLOY),
            cloudformation="SubnetIds",
        ),
        Setting(
            "aws",
            "security_groups",
            kind="list",
            default=[],
            unit="security group ids",
            description="security groups in those subnets",
            parse=_matching(r"sg-[0-9a-z-]+", "a security group's id, such as sg-0a1b2c3d"),
            tools=(PIPELINE, DEPLOY),
            cloudformation="SecurityGroupIds",
        ),
        Setting(
            "aws",
            "network_isolation",
            kind="boolean",
            default=False,
            unit="true or false",
            description="no network for what needs none: training in pipelines, and the endpoint's container",
            tools=(PIPELINE, DEPLOY),
            cloudformation="NetworkIsolation",
        ),
        Setting(
            "aws",
            "spot",
            kind="boolean",
            default=False,
            unit="true or false",
            description="train on spot instances, with checkpoints",
            tools=(PIPELINE,),
        ),
        Setting(
            "aws",
            "tags",
            kind="table",
            default={},
            unit="key = value",
            description="tags of the pipelines and their jobs",
            tools=(PIPELINE,),
        ),
        Setting(
            "aws",
            "images",
            kind="file",
            default=None,
            unit="JSON file",
            description="file of make publish that pins the images; make deploy reads dist/images.json without it",
            tools=(PIPELINE, DEPLOY),
        ),
        Setting(
            "aws",
            "processing_instance",
            kind="text",
            default="ml.m5.xlarge",
            unit="instance type",
            description="instance type of Processing jobs",
            parse=_INSTANCE,
            tools=(PIPELINE, DEPLOY),
            cloudformation="ProcessingInstance",
        ),
        Setting(
            "aws",
            "training_instance",
            kind="text",
            default="ml.m5.xlarge",
            unit="instance type",
            description="instance type of Training jobs",
            parse=_INSTANCE,
            tools=(PIPELINE, DEPLOY),
            cloudformation="TrainingInstance",
        ),
        Setting(
            "aws",
            "host_endpoint",
            kind="boolean",
            default=False,
            unit="true or false",
            description="true: host the champion on an endpoint that is always on; false: score in process",
            tools=(PIPELINE, DEPLOY),
            cloudformation="Hosting",
            stack_text=_hosting,
        ),
        Setting(
            "aws",
            "endpoint_name",
            kind="text",
            default="fraud-detection-model-v1",
            unit="name",
            description="name of the endpoint",
            parse=_ENDPOINT,
            tools=(PIPELINE, DEPLOY),
            cloudformation="EndpointName",
        ),
        Setting(
            "aws",
            "serving_instance",
            kind="text",
            default=stage_settings["serving_instance"].default,
            unit="instance type",
            description="instance type of the endpoint",
            parse=_INSTANCE,
            tools=(PIPELINE, DEPLOY),
            cloudformation="ServingInstance",
        ),
        Setting(
            "aws",
            "serving_instances",
            kind="integer",
            default=instances.default,
            unit=instances.unit,
            description=instances.description,
            parse=instances.type,
            tools=(PIPELINE, DEPLOY),
            cloudformation="ServingInstances",
        ),
        Setting(
            "aws",
            "glue_workers",
            kind="integer",
            default=5,
            unit="workers",
            description="workers of type G.1X of each Glue job",
            parse=number(int, 2),
            cloudformation="GlueWorkers",
        ),
        Setting(
            "aws",
            "function_memory",
            kind="integer",
            default=3008,
            unit="MB",
            description="memory of each Lambda function of a day; new accounts allow at most 3008",
            parse=number(int, 128, 10_240),
            cloudformation="FunctionMemory",
        ),
        Setting(
            "aws",
            "realtime_memory",
            kind="integer",
            default=2048,
            unit="MB",
            description="memory of each Lambda function of single transactions; new accounts allow at most 3008",
            parse=number(int, 128, 10_240),
            cloudformation="RealtimeMemory",
        ),
    )


def _schedule() -> tuple[Setting, ...]:
    """Return the settings of [schedule]."""
    return (
        Setting(
            "schedule",
            "engine",
            kind="text",
            default="StepFunctions",
            unit="",
            description="what the schedules start: StepFunctions or SageMakerPipelines",
            parse=_one_of("StepFunctions", "SageMakerPipelines"),
            cloudformation="Engine",
        ),
        Setting(
            "schedule",
            "daily_mode",
            kind="text",
            default="EXPRESS",
            unit="",
            description="EXPRESS: Lambda functions, for days of less than five minutes; STANDARD: Processing jobs",
            parse=_one_of("EXPRESS", "STANDARD"),
            cloudformation="DailyMode",
        ),
        Setting(
            "schedule",
            "training_cron",
            kind="text",
            default="cron(0 2 ? * SUN *)",
            unit="schedule expression",
            description="when training starts; monthly is cron(0 2 1 * ? *)",
            parse=_CRON,
            cloudformation="TrainingCron",
        ),
        Setting(
            "schedule",
            "daily_cron",
            kind="text",
            default="cron(0 6 * * ? *)",
            unit="schedule expression",
            description="when the daily run starts",
            parse=_CRON,
            cloudformation="DailyCron",
        ),
    )


def _operations() -> tuple[Setting, ...]:
    """Return the settings of [operations]."""
    return (
        Setting(
            "operations",
            "operations_email",
            kind="text",
            default="",
            unit="email address",
            description="address that receives failures and alarms",
            parse=_matching(r"[^@\s]+@[^@\s]+", "an email address"),
            cloudformation="OperationsEmail",
        ),
        Setting(
            "operations",
            "log_retention_days",
            kind="integer",
            default=90,
            unit="days",
            description="how long logs are kept: 30, 60, 90, 180, 365, 400 or 731",
            parse=_log_days,
            cloudformation="LogRetentionDays",
        ),
        Setting(
            "operations",
            "transaction_source",
            kind="text",
            default="bank.transactions",
            unit="event source",
            description="source of the events with detail type Transaction that are scored one by one",
            cloudformation="TransactionSource",
        ),
        Setting(
            "operations",
            "answer_seconds",
            kind="integer",
            default=86_400,
            unit="seconds",
            description="escalate an investigation that has no answer after this time",
            parse=_COUNT,
            cloudformation="AnswerSeconds",
        ),
        Setting(
            "operations",
            "escalation_seconds",
            kind="integer",
            default=172_800,
            unit="seconds",
            description="end an escalated investigation that has no answer after this further time",
            parse=_COUNT,
            cloudformation="EscalationSeconds",
        ),
    )


def _table() -> tuple[Setting, ...]:
    """Return every setting, section by section."""
    return (*_site(), *_input(), *_parameters(), *_aws(), *_schedule(), *_operations())


SETTINGS: Mapping[tuple[str, str], Setting] = {(setting.section, setting.key): setting for setting in _table()}
SECTIONS = tuple(dict.fromkeys(section for section, _ in SETTINGS))
