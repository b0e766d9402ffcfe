"""The engine's joints have the shapes that AWS documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.engine import Engine, apply_template, drain, engine, queue_url

# moto's server leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

ROLE = "arn:aws:iam::123456789012:role/any"
STACK = """
Parameters: {Greeting: {Type: String, Default: hello}}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
  StateMachine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: greeter
      StateMachineType: EXPRESS
      RoleArn: arn:aws:iam::123456789012:role/any
      DefinitionS3Location: {Bucket: artifacts, Key: greeter.json}
      DefinitionSubstitutions: {Greeting: !Ref Greeting, Error: Refused}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: function
      PackageType: Image
      Code: {ImageUri: "1.dkr.ecr/fraudline/etl@sha256:0"}
      ImageConfig: {Command: [lambda, etl]}
      Role: !GetAtt Role.Arn
  Results:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: results
      NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: true}}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [bank, aws.s3]}
      Targets: [{Id: start, Arn: !Ref StateMachine, RoleArn: arn:aws:iam::123456789012:role/any}]
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: dead}}
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: queue, RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}}
  Schedule:
    Type: AWS::Scheduler::Schedule
    Properties:
      Name: schedule
      ScheduleExpression: rate(1 day)
      FlexibleTimeWindow: {Mode: "OFF"}
      Target:
        Arn: !GetAtt Queue.Arn
        RoleArn: arn:aws:iam::123456789012:role/any
        Input: '{"scheduled": "<aws.scheduler.scheduled-time>"}'
  Pipe:
    Type: AWS::Pipes::Pipe
    Properties:
      RoleArn: arn:aws:iam::123456789012:role/any
      Source: !GetAtt Queue.Arn
      SourceParameters: {SqsQueueParameters: {BatchSize: 1}}
      Target: !Ref StateMachine
      TargetParameters:
        StepFunctionStateMachineParameters: {InvocationType: REQUEST_RESPONSE}
        InputTemplate: '{"at": <$.body.scheduled>}'
"""
# It returns its input, and fails where that has no "at" and is no event.
DEFINITION: dict[str, Any] = {
    "StartAt": "CheckInput",
    "States": {
        "CheckInput": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$[0].at", "IsPresent": True, "Next": "Greet"},
                {"Variable": "$.source", "IsPresent": True, "Next": "Greet"},
            ],
            "Default": "Refuse",
        },
        "Greet": {
            "Type": "Pass",
            "Parameters": {"greeting": "${Greeting}", "input.$": "$", "started.$": "$$.Execution.StartTime"},
            "End": True,
        },
        "Refuse": {"Type": "Fail", "Error": "${Error}", "Cause": "nobody to greet"},
    },
}
GREETER = "arn:aws:states:us-east-1:123456789012:stateMachine:greeter"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Engine]:
    """Start an AWS with the stack above in it."""
    with engine() as started:
        boto3.client("s3").create_bucket(Bucket="artifacts")
        boto3.client("s3").put_object(Bucket="artifacts", Key="greeter.json", Body=json.dumps(DEFINITION))
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(StackName="stack", TemplateBody=STACK)
        assert cloudformation.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        yield started


def start_sync(state_machine: str, content: Any) -> dict[str, Any]:
    client = boto3.client("stepfunctions", config=Config(inject_host_prefix=False))
    answer: dict[str, Any] = client.start_sync_execution(stateMachineArn=state_machine, input=json.dumps(content))
    return answer


def received_events(cloud: Engine, kind: str) -> list[Any]:
    """Return the events of a kind with which the rule started executions."""
    executions = [cloud.wait_for(execution["executionArn"]) for execution in cloud.executions(GREETER)]
    inputs = [json.loads(execution["input"]) for execution in executions]
    return [event for event in inputs if "source" in event and event["detail-type"] == kind]


@pytest.mark.usefixtures("cloud")
def test_start_sync_execution_answers_after_the_end():
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html
    answer = start_sync(GREETER, [{"at": "now"}])
    output = json.loads(answer["output"])
    assert (answer["status"], output["greeting"], output["input"]) == ("SUCCEEDED", "hello", [{"at": "now"}])
    members = {"executionArn", "stateMachineArn", "name", "startDate", "stopDate", "status", "input", "output"}
    assert answer.keys() - {"ResponseMetadata"} == members
    failed = start_sync(GREETER, [{}])
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "Refused", "nobody to greet")
    assert "output" not in failed


@pytest.mark.usefixtures("cloud")
def test_start_sync_execution_refuses_standard_state_machines():
    client = boto3.client("stepfunctions")
    standard = client.create_state_machine(name="standard", definition=json.dumps(DEFINITION), roleArn=ROLE)
    with pytest.raises(ClientError, match="StateMachineTypeNotSupported"):
        start_sync(standard["stateMachineArn"], [])


@pytest.mark.usefixtures("cloud")
def test_executions_without_a_name_do_not_clash():
    client = boto3.client("stepfunctions")
    started = [client.start_execution(stateMachineArn=GREETER)["executionArn"] for _ in range(2)]
    assert len(set(started)) == 2


@pytest.mark.usefixtures("cloud")
def test_start_time_in_the_context_object_is_a_text():
    # https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    started = json.loads(start_sync(GREETER, [{"at": "now"}])["output"])["started"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started)


@pytest.mark.usefixtures("cloud")
def test_substitutions_are_inserted_unchanged():
    """So a quotation mark breaks the definition, as in CloudFormation."""
    greeter = boto3.client("stepfunctions").describe_state_machine(stateMachineArn=GREETER)
    assert greeter["type"] == "EXPRESS"
    assert json.loads(greeter["definition"])["States"]["Greet"]["Parameters"]["greeting"] == "hello"
    cloudformation = boto3.client("cloudformation")
    greeting = [{"ParameterKey": "Greeting", "ParameterValue": '{"a": 1}'}]
    cloudformation.create_stack(StackName="quoted", TemplateBody=STACK, Parameters=greeting)
    events = cloudformation.describe_stack_events(StackName="quoted")["StackEvents"]
    (reason,) = (it["ResourceStatusReason"] for it in events if it["LogicalResourceId"] == "StateMachine")
    assert "ASLParserException" in reason


@pytest.mark.usefixtures("cloud")
def test_a_function_of_the_stack_has_its_image_and_command():
    function = boto3.client("lambda").get_function(FunctionName="function")
    assert function["Configuration"]["PackageType"] == "Image"
    assert function["Configuration"]["ImageConfigResponse"]["ImageConfig"]["Command"] == ["lambda", "etl"]
    assert function["Code"]["ImageUri"] == "1.dkr.ecr/fraudline/etl@sha256:0"


def test_a_rule_starts_its_state_machine_with_the_event(cloud: Engine):
    # https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    entries = [{"Source": source, "DetailType": "Greeting", "Detail": '{"a": 1}'} for source in ("bank", "another")]
    boto3.client("events").put_events(Entries=entries)
    (event,) = received_events(cloud, "Greeting")
    names = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
    assert event.keys() == names
    assert (event["source"], event["detail"]) == ("bank", {"a": 1})
    assert (event["version"], event["account"], event["region"]) == ("0", "123456789012", "us-east-1")
    assert datetime.fromisoformat(event["time"]) - datetime.now(UTC) < timedelta(minutes=1)


def test_a_created_object_is_an_event(cloud: Engine):
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    boto3.client("s3").put_object(Bucket="results", Key="history/a.json", Body=b"{}")
    (event,) = received_events(cloud, "Object Created")
    assert event["source"] == "aws.s3"
    assert event["detail"]["bucket"] == {"name": "results"}
    assert event["detail"]["object"]["key"] == "history/a.json"


def test_a_schedule_sends_its_scheduled_time_in_utc(cloud: Engine):
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    cloud.fire("Schedule", datetime(2026, 4, 2, 6, tzinfo=timezone(timedelta(hours=2))))
    (message,) = drain(queue_url("queue"))
    assert json.loads(message["Body"]) == {"scheduled": "2026-04-02T04:00:00Z"}


def test_a_pipe_passes_an_array_and_deletes_what_succeeded(cloud: Engine):
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
    cloud.fire("Schedule", datetime(2026, 4, 2, 6, tzinfo=UTC))
    (answer,) = cloud.poll("Pipe")
    assert json.loads(answer["input"]) == [{"at": "2026-04-02T06:00:00Z"}]
    assert cloud.poll("Pipe") == []


def test_a_failing_message_ends_in_the_dead_letter_queue(cloud: Engine):
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    boto3.client("sqs").send_message(QueueUrl=queue_url("queue"), MessageBody="not JSON")
    assert [[answer["status"] for answer in cloud.poll("Pipe")] for _ in range(3)] == [["FAILED"], ["FAILED"], []]
    assert [message["Body"] for message in drain(queue_url("dead"))] == ["not JSON"]


@pytest.mark.parametrize(("queue", "status"), [("queue", "COMPLETED"), ("dead", "FAILED")])
@pytest.mark.usefixtures("cloud")
def test_dead_letters_are_moved_only_to_the_queue_that_set_them_aside(queue: str, status: str):
    sqs = boto3.client("sqs")
    urls = {name: sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in ("queue", "dead")}
    for url in urls.values():
        drain(url)
    sqs.send_message(QueueUrl=urls[queue], MessageBody="a message")
    for _ in range(3):
        for message in sqs.receive_message(QueueUrl=urls["queue"]).get("Messages", []):
            handle = message["ReceiptHandle"]
            sqs.change_message_visibility(QueueUrl=urls["queue"], ReceiptHandle=handle, VisibilityTimeout=0)
    arn = f"arn:aws:sqs:us-east-1:{ROLE.split(':')[4]}:dead"
    sqs.start_message_move_task(SourceArn=arn)
    (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    assert (task["SourceArn"], task["Status"]) == (arn, status)
    assert task.get("FailureReason") == (None if status == "COMPLETED" else "CouldNotDetermineMessageSource")
    assert [message["Body"] for message in drain(urls[queue])] == ["a message"]


@pytest.mark.parametrize(
    ("template", "record", "expected"),
    [
        ('{"a": <$.body.key>}', {"body": {"key": "text"}}, {"a": "text"}),
        ('{"a": <$.body>, "b": "unchanged"}', {"body": {"key": [1]}}, {"a": {"key": [1]}, "b": "unchanged"}),
        ('{"a": <$.body.key>, "b": <$.body.other>}', {"body": {"key": 1}}, {"a": 1}),
    ],
)
def test_an_input_template_is_filled_in_from_the_record(template: str, record: Any, expected: Any):
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html
    assert apply_template(template, record) == expected


def test_unknown_resources_are_recorded_with_references_resolved(cloud: Engine):
    assert cloud.recorded.keys() == {"Schedule", "Pipe"}
    assert cloud.recorded["Pipe"]["Target"] == GREETER
