"""An investigation, executed: opened, asked, answered by its task token, or by nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from fraudline.runtime import s3
from tests.aws.engine import Engine

# That server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

CASE = {
    "day": "2026-04-01",
    "alert_priority": "URGENT",
    "alert_count": 2,
    "expected_loss": 310.5,
    "customer_id": "customer-7",
}
LABELS = [{"transaction_id": "t1", "is_fraud": True}, {"transaction_id": "t2", "is_fraud": False}]
SOON = 2  # seconds; both of an investigation's times in these tests


@dataclass(frozen=True)
class Office:
    """Where cases come in and are answered."""

    engine: Engine
    outputs: dict[str, str]
    ears: dict[str, str]  # a queue that hears of a topic

    def open(self, case: str) -> str:
        machine = self.outputs["TrainingMachine"].replace("fraud-training", "fraud-investigation")
        given = {"stateMachineArn": machine, "name": case, "input": json.dumps({"case_id": case, **CASE})}
        execution: str = boto3.client("stepfunctions").start_execution(**given)["executionArn"]
        return execution

    def asked(self, topic: str, case: str) -> dict[str, Any]:
        """What a topic says of a case, once it does."""
        sqs, until = boto3.client("sqs"), time.monotonic() + 10
        while time.monotonic() < until:
            for message in sqs.receive_message(QueueUrl=self.ears[topic], WaitTimeSeconds=1).get("Messages", []):
                sqs.delete_message(QueueUrl=self.ears[topic], ReceiptHandle=message["ReceiptHandle"])
                said: dict[str, Any] = json.loads(json.loads(message["Body"])["Message"])
                if said["case_id"] == case:
                    return said
        raise AssertionError(f"{topic} says nothing of {case}")

    def answer(self, question: dict[str, Any], answer: Any) -> None:
        token = question["task_token"]
        boto3.client("stepfunctions").send_task_success(taskToken=token, output=json.dumps(answer))

    def case(self, case: str) -> dict[str, str]:
        item = boto3.client("dynamodb").get_item(TableName="fraud_cases", Key={"key": {"S": case}})["Item"]
        return {name: value["S"] for name, value in item.items()}

    def label(self, transaction: str) -> dict[str, Any] | None:
        text = s3.read(f"{self.outputs['Data']}/labeled/investigations/", f"{transaction}.jsonl")
        return text and json.loads(text)


@pytest.fixture(scope="module")
def office(cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Office:
    outputs = deployed(AnswerSeconds=SOON, EscalationSeconds=SOON)
    ears = {}
    for topic in ("cases", "escalation", "operations"):
        ears[topic] = boto3.client("sqs").create_queue(QueueName=topic)["QueueUrl"]
        told = {"TopicArn": f"arn:aws:sns:us-east-1:123456789012:fraud-{topic}", "Protocol": "sqs"}
        boto3.client("sns").subscribe(**told, Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{topic}")
    return Office(cloud, outputs, ears)


def test_an_answer_becomes_labels_and_closes_the_case(office: Office):
    execution = office.open("answered")
    question = office.asked("cases", "answered")
    assert office.case("answered")["status"] == "OPEN"
    office.answer(question, {"labels": LABELS})
    assert office.engine.ended(execution)["status"] == "SUCCEEDED"
    assert office.case("answered")["status"] == "ANSWERED"
    for label in LABELS:
        written = office.label(label["transaction_id"])
        assert written
        assert {name: written[name] for name in label} == label
        assert written["labeled_at"] > question["day"]


def test_who_asks_never_names_the_customer(office: Office):
    execution = office.open("masked")
    question = office.asked("cases", "masked")
    assert CASE["customer_id"] not in json.dumps(question)
    office.answer(question, {"labels": LABELS})
    office.engine.ended(execution)
    assert CASE["customer_id"] not in json.dumps(office.case("masked"))


def test_a_case_that_nobody_answers_is_escalated_and_can_be_answered_then(office: Office):
    execution = office.open("late")
    first = office.asked("cases", "late")
    second = office.asked("escalation", "late")
    assert first["task_token"] != second["task_token"]
    with pytest.raises(boto3.client("stepfunctions").exceptions.TaskTimedOut):  # who answers late is told
        office.answer(first, {"labels": LABELS})
    office.answer(second, {"labels": LABELS})
    assert office.engine.ended(execution)["status"] == "SUCCEEDED"
    assert office.case("late")["status"] == "ANSWERED"


def test_a_case_that_nobody_ever_answers_is_told_and_no_label_is_made_up(office: Office):
    ended = office.engine.ended(office.open("never"))
    assert (ended["status"], ended["error"]) == ("FAILED", "Unanswered")
    assert office.case("never")["status"] == "UNANSWERED"
    assert office.asked("operations", "never")["error"] == "Unanswered"


def test_a_second_answer_is_refused_and_changes_nothing(office: Office):
    execution = office.open("twice")
    question = office.asked("cases", "twice")
    office.answer(question, {"labels": [{"transaction_id": "t3", "is_fraud": True}]})
    assert office.engine.ended(execution)["status"] == "SUCCEEDED"
    with pytest.raises(boto3.client("stepfunctions").exceptions.TaskTimedOut):
        office.answer(question, {"labels": [{"transaction_id": "t3", "is_fraud": False}]})
    written = office.label("t3")
    assert written
    assert written["is_fraud"] is True


@pytest.mark.parametrize("answer", ["yes", {"labels": []}, {"labels": [{"transaction_id": "t4", "is_fraud": "yes"}]}])
def test_what_is_not_understood_is_asked_again(office: Office, answer: Any):
    case = f"unclear-{abs(hash(str(answer)))}"
    execution = office.open(case)
    office.answer(office.asked("cases", case), answer)
    assert office.label("t4") is None
    office.answer(office.asked("cases", case), {"labels": LABELS})
    assert office.engine.ended(execution)["status"] == "SUCCEEDED"


def test_a_case_is_opened_once(office: Office):
    """Alert-and-store may run again: an execution is named by its case."""
    execution = office.open("once")
    assert office.open("once") == execution  # of the same input: it is the same one
    office.answer(office.asked("cases", "once"), {"labels": LABELS})
    assert office.engine.ended(execution)["status"] == "SUCCEEDED"
