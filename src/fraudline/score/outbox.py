"""Sends a day's messages and opens its cases, each once: what went out is marked, and a rerun passes it over.

After a crash between the two, and where a claim expired under a slow runner, a message is sent again under the
same deduplication id. A case is opened once even then: Step Functions takes a name once in 90 days.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial

from fraudline.runtime import aws
from fraudline.score.alerts import Case, Message
from fraudline.score.score_table import ScoreTable


def publish(table: ScoreTable, topic: str, messages: Sequence[Message], day: date) -> None:
    """Publish to an SNS topic what was not published yet."""
    _once(table, {message.id: partial(send, topic, message, day) for message in messages})


def open_cases(table: ScoreTable, state_machine: str, cases: Sequence[Case]) -> None:
    """Start an execution of a STANDARD state machine for each case that has none."""
    _once(table, {f"case/{case.name}": partial(_start, state_machine, case) for case in cases})


def _once(table: ScoreTable, actions: Mapping[str, Callable[[], None]]) -> None:
    done = table.sent(actions)
    for id_, act in actions.items():
        if id_ not in done:
            act()
            table.mark_sent(id_)


def send(topic: str, message: Message, day: date) -> None:
    """Publish a message to an SNS topic, whether or not it was before."""
    attributes = {"deduplication_id": message.id, "alert_priority": message.priority, "day": str(day)}
    # What a FIFO topic takes is shorter than an id may be, and not any character.
    hashed = hashlib.sha256(message.id.encode()).hexdigest()
    fifo = {"MessageDeduplicationId": hashed, "MessageGroupId": str(day)} if topic.endswith(".fifo") else {}
    aws.client("sns").publish(
        TopicArn=topic,
        Subject=message.subject,
        Message=message.body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
        **fifo,
    )


def _start(state_machine: str, case: Case) -> None:
    client = aws.client("stepfunctions")
    try:
        client.start_execution(stateMachineArn=state_machine, name=case.name, input=case.body)
    except client.exceptions.ExecutionAlreadyExists:
        return  # it was opened, and is closed by now
