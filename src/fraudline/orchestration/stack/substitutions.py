"""Values for the placeholders of definitions, such as ``${Threshold}``."""

from __future__ import annotations

import re

from fraudline.catalog.plan import settings, title
from fraudline.catalog.stages import IMAGES
from fraudline.catalog.workflow import WORKFLOWS
from fraudline.orchestration.stack.functions import functions
from fraudline.orchestration.stack.intrinsics import Noted, Value, attribute, choose, join, ref, sub
from fraudline.orchestration.stack.parameters import KEY, KNOWN, PER_EXECUTION
from fraudline.orchestration.stack.roles import GLUE_STAGES, roles

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def substitutions(definition: str) -> dict[str, Value]:
    """Return a value for each placeholder of a definition.

    Raises:
        ValueError: a placeholder has no value.
    """
    values, names = _values(), set(_PLACEHOLDER.findall(definition))
    if unknown := sorted(names - set(values)):
        raise ValueError(f"no value for ${{{unknown[0]}}}; a definition may name {', '.join(sorted(values))}")
    return {name: values[name] for name in sorted(names)}


def _values() -> dict[str, Value]:
    names = ("AnswerSeconds", "CasesTable", "CasesTopic", "DailyStandardMachine", "DataBucket", "EscalationSeconds",
             "EscalationTopic", "OperationsTopic", "ProcessingInstance", "RealtimeDeadLetters",
             "TrainingInstance")  # fmt: skip
    return {
        **{title(name): KNOWN.get(name, ref(title(name))) for name in settings() if name not in PER_EXECUTION},
        **{name: ref(name) for name in (*names, *GLUE_STAGES.values(), *(f"{it.title()}Image" for it in IMAGES))},
        **{name: attribute(name) for name in (*roles(), *functions()) if name.endswith(("Role", "Function"))},
        **{
            f"{title(name)}Pipeline": sub(f"${{BucketPrefix}}-{workflow.pipeline}")
            for name, workflow in WORKFLOWS.items()
        },
        "Data": sub("s3://${DataBucket}"),
        "Root": sub("s3://${ResultsBucket}"),
        "HistoryUri": sub("dynamodb://${HistoryTable}"),
        "KeyArn": KEY,
        "Network": Noted("In base 64, because a text of the definition holds it, quotation marks and all.", _network()),
    }


def _network() -> Value:
    """Return the NetworkConfig of Processing jobs."""
    vpc = '"VpcConfig": {"Subnets": ["${Subnets}"], "SecurityGroupIds": ["${Groups}"]}'
    quoted = '", "'
    inside = sub(
        f'{{"EnableNetworkIsolation": false, {vpc}}}',
        Subnets=join(quoted, ref("SubnetIds")),
        Groups=join(quoted, ref("SecurityGroupIds")),
    )
    return {"Fn::Base64": choose("InVpc", inside, '{"EnableNetworkIsolation": false}')}
