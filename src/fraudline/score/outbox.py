"""Publish a day's messages and open its cases, each once.

The score table records what was sent, and a rerun skips it. After a crash between sending and recording, or
if the claim of a slow runner expired, a message is sent again with the same deduplication id. Even then a
case is opened only once, because Step Functions accepts an execution name only once in 90 days.
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
    """Publish the messages that no run has published yet."""
    _once(table, {message.id: partial(send, topic, message, day) for message in messages})


def open_cases(table: ScoreTable, state_machine: str, cases: Sequence[Case]) -> None:
    """Start an execution of a STANDARD state machine for each case that has none."""
    _once(table, {f"case/{case.name}": partial(_start, state_machine, case) for case in cases})


def send(topic: str, message: Message, day: date) -> None:
    """Publish a message to an SNS topic, even if it was published before."""
    attributes = {"deduplication_id": message.id, "alert_priority": message.priority, "day": str(day)}
    fifo = {}
    if topic.endswith(".fifo"):
        # A hash, because SNS allows at most 128 letters, digits and punctuation marks in these ids.
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
    """Perform the actions whose ids are not marked as sent, and mark each one right afterwards."""
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
        return  # an earlier run opened the case, which is closed by now
