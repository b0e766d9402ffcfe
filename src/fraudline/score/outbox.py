"""Publish a day's messages and open its cases, each once.

What was sent is marked in the score table, and a rerun skips it. After a crash between sending and
marking, or if a slow runner's claim expired, a message is sent again under the same deduplication id.
A case is opened once even then, because Step Functions accepts an execution name once in 90 days.
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
    """Publish the messages that no run has published yet; afterwards all of them are published."""
    _once(table, {message.id: partial(send, topic, message, day) for message in messages})


def open_cases(table: ScoreTable, state_machine: str, cases: Sequence[Case]) -> None:
    """Start an execution of a STANDARD state machine for each case that has none; afterwards each has one."""
    _once(table, {f"case/{case.name}": partial(_start, state_machine, case) for case in cases})


def send(topic: str, message: Message, day: date) -> None:
    """Publish a message to an SNS topic, whether or not it was published before."""
    attributes = {"deduplication_id": message.id, "alert_priority": message.priority, "day": str(day)}
    fifo = {}
    if topic.endswith(".fifo"):
        # A hash, because SNS limits these ids to 128 characters of a small alphabet.
        hashed = hashlib.sha256(message.id.encode()).hexdigest()
        fifo = {"MessageDeduplicationId": hashed, "MessageGroupId": str(day)}
    aws.client("sns").publish(
        TopicArn=topic,
        Subject=message.subject,
        Message=message.body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
        **fifo,
    )


def _once(table: ScoreTable, actions: Mapping[str, Callable[[], None]]) -> None:
    """Perform the actions whose ids are not marked as sent, and mark each right after it."""
    sent = table.sent(actions)
    for id_, act in actions.items():
        if id_ not in sent:
            act()
            table.mark_sent(id_)


def _start(state_machine: str, case: Case) -> None:
    client = aws.client("stepfunctions")
    try:
        client.start_execution(stateMachineArn=state_machine, name=case.name, input=case.body)
    except client.exceptions.ExecutionAlreadyExists:
        return  # an earlier run opened the case, and it is closed by now
