"""State machines fail in the tests where they fail on AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.aws import states
from tests.aws.engine import Engine, engine
from tests.aws.test_engine import start_sync

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

ROLE = "arn:aws:iam::123456789012:role/any"
# The recordings of AWS: https://github.com/localstack/localstack/tree/main/tests/aws/services/stepfunctions/v2
# services/test_aws_sdk_task_service.snapshot.json, test_s3_put_object: the body in the input, and the object's text.
RECORDED_BODIES = {
    "str": ("text data", '"text data"'),
    "dict": ({"Dict": "Value"}, '{"Dict":"Value"}'),
    "list": (["List", "Data"], '["List","Data"]'),
    "bool": (False, "false"),
    "num": (0, "0"),
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Engine]:
    with engine() as started:
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield started


def create(name: str, definition_states: dict[str, Any], kind: str = "STANDARD", **others: Any) -> str:
    """Create a state machine that starts with the first state, and return its ARN."""
    definition = {"StartAt": next(iter(definition_states)), "States": definition_states, **others}
    request = {"name": name, "definition": json.dumps(definition), "roleArn": ROLE, "type": kind}
    arn: str = boto3.client("stepfunctions").create_state_machine(**request)["stateMachineArn"]
    return arn


def execute(cloud: Engine, state_machine: str, content: Any) -> dict[str, Any]:
    """Execute a STANDARD state machine, and return the description of its end."""
    client = boto3.client("stepfunctions")
    answer = client.start_execution(stateMachineArn=state_machine, input=json.dumps(content))
    return cloud.wait_for(answer["executionArn"])


def catching(task: dict[str, Any], *errors: str) -> dict[str, Any]:
    """Return a task whose errors of these names lead to success."""
    caught = [{"ErrorEquals": [error], "Next": "Caught"} for error in errors]
    return {"Task": {**task, "Catch": caught, "End": True}, "Caught": {"Type": "Pass", "Result": "caught", "End": True}}


def put_object(**parameters: Any) -> dict[str, Any]:
    fixed = {"Bucket": "bucket", "Key": "key"}
    return {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:putObject", "Parameters": fixed | parameters}


@pytest.mark.parametrize(("body", "stored"), RECORDED_BODIES.values(), ids=RECORDED_BODIES)
def test_an_object_s_body_is_stored_as_recorded_on_aws(cloud: Engine, body: Any, stored: str):
    task = put_object(**{"Body.$": "$.body"})
    machine = create(f"put-{type(body).__name__}", {"Task": {**task, "End": True}})
    assert execute(cloud, machine, {"body": body})["status"] == "SUCCEEDED"
    assert boto3.client("s3").get_object(Bucket="bucket", Key="key")["Body"].read().decode() == stored


# scenarios/test_base_scenarios.snapshot.json, test_catch_states_runtime: not even its own name catches States.Runtime.
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
@pytest.mark.parametrize("error", ["States.ALL", "States.TaskFailed", "States.Runtime"])
@pytest.mark.parametrize(
    "task",
    [
        put_object(**{"Body.$": "$.no.such.path"}),
        put_object(**{"Body.$": "States.StringToJson($.text)"}),
        put_object(Body="") | {"OutputPath": "$.no.such.path"},
    ],
    ids=["path", "intrinsic", "output"],
)
def test_a_runtime_error_is_caught_by_nothing(cloud: Engine, task: dict[str, Any], error: str):
    machine = create(f"runtime-{abs(hash(json.dumps([task, error])))}", catching(task, error))
    ended = execute(cloud, machine, {"text": "not JSON"})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")


def test_a_missing_key_of_an_item_is_caught_by_nothing(cloud: Engine):
    items = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemSelector": {"key.$": "$$.Map.Item.Value.key"},
        "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "End": True}}},
    }
    ended = execute(cloud, create("items", catching(items, "States.ALL")), {"items": [{"other": 1}]})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")


@pytest.mark.parametrize("error", ["States.ALL", "States.TaskFailed"])
def test_a_task_s_parameters_hold_at_most_256_kib(cloud: Engine, error: str):
    """The input fits; what the task would send, twice the input, does not."""
    task = put_object(Body={"a.$": "$.text", "b.$": "$.text"})
    machine = create(f"large-{error.rpartition('.')[2]}", catching(task, error))
    ended = execute(cloud, machine, {"text": "x" * 200_000})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


@pytest.mark.usefixtures("cloud")
def test_an_execution_s_input_holds_at_most_256_kib():
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    machine = create("input", {"Pass": {"Type": "Pass", "End": True}})
    with pytest.raises(ClientError, match="less than or equal to 262144"):
        boto3.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps("x" * 262_144))


def test_a_state_s_output_holds_at_most_256_kib(cloud: Engine):
    doubled = {"Type": "Pass", "Parameters": {"a.$": "$", "b.$": "$"}, "End": True}
    ended = execute(cloud, create("output", {"Pass": doubled}), "x" * 200_000)
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


def loop(rounds: int) -> dict[str, Any]:
    """Return states that count to a number, with five events in each round."""
    return {
        "Count": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "Check"},
        "Check": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericLessThan": rounds, "Next": "Count"}],
            "Default": "Done",
        },
        "Done": {"Type": "Succeed"},
    }


def test_a_standard_execution_fails_with_a_full_history(cloud: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(states, "HISTORY_EVENTS", 50)
    ended = execute(cloud, create("long", loop(1000)), {"n": 0})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert "maximum number of history events" in ended["cause"]
    answer = start_sync(create("long-express", loop(20), "EXPRESS"), {"n": 0})
    assert answer["status"] == "SUCCEEDED"  # EXPRESS has no limit


@pytest.mark.usefixtures("cloud")
def test_express_times_out_at_its_limit_and_runs_no_catch(monkeypatch: pytest.MonkeyPatch):
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: 5 minutes
    assert states.EXPRESS_SECONDS == 300
    monkeypatch.setattr(states, "EXPRESS_SECONDS", 1)
    inner = {"Wait": {"Type": "Wait", "Seconds": 2, "Next": "Fail"}, "Fail": {"Type": "Fail"}}
    waits = {
        "Type": "Parallel",
        "Branches": [{"StartAt": "Wait", "States": inner}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        "End": True,
    }
    caught = {**put_object(Key="caught", Body={}), "End": True}
    machine = create("slow", {"Task": waits, "Caught": caught}, "EXPRESS", TimeoutSeconds=600)
    assert start_sync(machine, {})["status"] == "TIMED_OUT"
    time.sleep(1.5)  # the wait has ended, and its failure leads nowhere
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="bucket", Prefix="caught")
