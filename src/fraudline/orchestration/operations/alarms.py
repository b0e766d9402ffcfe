"""The stack's alarms that are in the state ALARM."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fraudline.runtime import aws


@dataclass(frozen=True)
class Ringing:
    """An alarm in the state ALARM.

    Attributes:
        name: its logical id in the template, as the runbook lists it.
        description: what it means.
        since: the time of its last change.
    """

    name: str
    description: str
    since: datetime


def ringing(stack: str) -> list[Ringing]:
    """Return the alarms of a stack that ring; CloudFormation names each STACK-LOGICALID-RANDOM."""
    pages = aws.client("cloudwatch").get_paginator("describe_alarms")
    answers = pages.paginate(AlarmNamePrefix=f"{stack}-", AlarmTypes=["MetricAlarm"])
    return [
        Ringing(
            alarm["AlarmName"].removeprefix(f"{stack}-").partition("-")[0],
            alarm.get("AlarmDescription", ""),
            alarm["StateUpdatedTimestamp"],
        )
        for answer in answers
        for alarm in answer["MetricAlarms"]
        if alarm["StateValue"] == "ALARM"
    ]
