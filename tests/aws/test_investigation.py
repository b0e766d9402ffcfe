"""The investigation of a case, executed: answered by its task token, escalated, or never answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from fraudline.runtime import s3
from tests.aws.engine import Engine, subscribe

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

CASE = {
    "day": "2026-04-01",
    "alert_priority": "URGENT",
    "alert_count": 2,
    "expected_loss": 310.5,
    "customer_id": "customer-7",
}
LABELS = [{"transaction_id": "t1", "is_fraud": True}, {"transaction_id": "t2", "is_fraud": False}]
SECONDS = 2  # to answer, and again after the escalation


@dataclass(frozen=True)
class Office:
    """The office that investigates cases.

    Attributes:
        engine: the AWS in which the stack runs.
        outputs: the stack's outputs.
        queues: URL of the queue that receives each topic's messages.
    """

    engine: Engine
    outputs: dict[str, str]
    queues: dict[str, str]

    def open(self, case: str) -> str:
        """Open a case, and return the ARN of its execution."""
        state_machine = self.outputs["TrainingMachine"].replace("fraud-training", "fraud-investigation")
        content = json.dumps({"case_id": case, **CASE})
        client = boto3.client("stepfunctions")
        execution: str = client.start_execution(stateMachineArn=state_machine, name=case, input=content)["executionArn"]
        return execution

    def wait_for_message(self, topic: str, case: str) -> dict[str, Any]:
        """Return the next message about a case; fail after 10 seconds without one."""
        sqs, queue, deadline = boto3.client("sqs"), self.queues[topic], time.monotonic() + 10
        while time.monotonic() < deadline:
            for received in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
                message: dict[str, Any] = json.loads(json.loads(received["Body"])["Message"])
                if message["case_id"] == case:
                    return message
        raise AssertionError(f"no message to {topic} about {case}")

    def answer(self, question: dict[str, Any], answer: Any) -> None:
        """Answer a question by its task token."""
        token = question["task_token"]
        boto3.client("stepfunctions").send_task_success(taskToken=token, output=json.dumps(answer))

    def case(self, case: str) -> dict[str, str]:
        """Return a case's item in the table of cases."""
        item = boto3.client("dynamodb").get_item(TableName="fraud_cases", Key={"key": {"S": case}})["Item"]
        return {name: value["S"] for name, value in item.items()}

    def label(self, transaction: str) -> dict[str, Any] | None:
        """Return the label that an investigation wrote, None where there is none."""
        text = s3.read(f"{self.outputs['Data']}/labeled/investigations/", f"{transaction}.jsonl")
        return text and json.loads(text)


@pytest.fixture(scope="module")
def office(cloud: Engine, deployed: Callable[..., dict[str, str]]) -> Office:
    outputs = deployed(AnswerSeconds=SECONDS, EscalationSeconds=SECONDS)
    topics = ("cases", "escalation", "operations")
    queues = {topic: subscribe(f"arn:aws:sns:us-east-1:123456789012:fraud-{topic}", topic) for topic in topics}
    return Office(cloud, outputs, queues)


def test_an_answer_becomes_labels_and_closes_the_case(office: Office):
    execution = office.open("answered")
    question = office.wait_for_message("cases", "answered")
    assert office.case("answered")["status"] == "OPEN"
    office.answer(question, {"labels": LABELS})
    assert office.engine.wait_for(execution)["status"] == "SUCCEEDED"
    assert office.case("answered")["status"] == "ANSWERED"
    for label in LABELS:
        written = office.label(label["transaction_id"])
        assert written
        assert {name: written[name] for name in label} == label
        assert written["labeled_at"] > question["day"]


def test_neither_question_nor_case_names_the_customer(office: Office):
    execution = office.open("masked")
    question = office.wait_for_message("cases", "masked")
    assert CASE["customer_id"] not in json.dumps(question)
    office.answer(question, {"labels": LABELS})
    office.engine.wait_for(execution)
    assert CASE["customer_id"] not in json.dumps(office.case("masked"))


def test_an_unanswered_case_is_escalated_and_can_be_answered(office: Office):
    execution = office.open("late")
    first = office.wait_for_message("cases", "late")
    second = office.wait_for_message("escalation", "late")
    assert first["task_token"] != second["task_token"]
    with pytest.raises(boto3.client("stepfunctions").exceptions.TaskTimedOut):  # the first token has expired
        office.answer(first, {"labels": LABELS})
    office.answer(second, {"labels": LABELS})
    assert office.engine.wait_for(execution)["status"] == "SUCCEEDED"
    assert office.case("late")["status"] == "ANSWERED"


def test_a_case_that_is_never_answered_ends_well_with_a_notice(office: Office):
    """The alarm on failed executions does not count it."""
    execution = office.engine.wait_for(office.open("never"))
    assert execution["status"] == "SUCCEEDED"
    assert json.loads(execution["output"]) == {"case_id": "never", "status": "UNANSWERED"}
    assert office.case("never")["status"] == "UNANSWERED"
    assert office.wait_for_message("operations", "never")["error"] == "Unanswered"


def test_a_second_answer_is_rejected_and_changes_nothing(office: Office):
    execution = office.open("twice")
    question = office.wait_for_message("cases", "twice")
    office.answer(question, {"labels": [{"transaction_id": "t3", "is_fraud": True}]})
    assert office.engine.wait_for(execution)["status"] == "SUCCEEDED"
    with pytest.raises(boto3.client("stepfunctions").exceptions.TaskTimedOut):
        office.answer(question, {"labels": [{"transaction_id": "t3", "is_fraud": False}]})
    written = office.label("t3")
    assert written
    assert written["is_fraud"] is True


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        {"label": []},
        {"labels": []},
        {"labels": "t4"},
        {"labels": ["t4"]},
        {"labels": [{"transaction_id": "t4"}]},
        {"labels": [{"is_fraud": True}]},
        {"labels": [{"transaction_id": "t4", "is_fraud": "yes"}]},
        {"labels": [{"transaction_id": 4, "is_fraud": True}]},
        {"labels": [{"transaction_id": "", "is_fraud": True}]},
        {"labels": [{"transaction_id": "t4", "is_fraud": True}, {"transaction_id": "t5"}]},
    ],
    ids=repr,
)
def test_an_invalid_answer_is_explained_and_asked_again(office: Office, answer: Any):
    """Nothing of it is written, not even its valid labels."""
    case = f"unclear-{abs(hash(str(answer)))}"
    execution = office.open(case)
    question = office.wait_for_message("cases", case)
    assert question["remark"] == ""
    office.answer(question, answer)
    question = office.wait_for_message("cases", case)
    assert "not understood" in question["remark"]
    assert office.label("t4") is None
    office.answer(question, {"labels": LABELS})
    assert office.engine.wait_for(execution)["status"] == "SUCCEEDED"


def test_a_case_is_opened_once(office: Office):
    """alert-and-store may run again; an execution has the name of its case."""
    execution = office.open("once")
    assert office.open("once") == execution  # the same name and input: the same execution
    office.answer(office.wait_for_message("cases", "once"), {"labels": LABELS})
    assert office.engine.wait_for(execution)["status"] == "SUCCEEDED"
