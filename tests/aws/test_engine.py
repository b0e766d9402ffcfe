"""What was joined to the server has the shapes that AWS documents."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.engine import Engine, engine, queue_of, received, transformed

pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")  # that server's sockets

ROLE = "arn:aws:iam::123456789012:role/any"
STACK = """
Parameters: {Says: {Type: String, Default: hello}}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: machine
      StateMachineType: EXPRESS
      RoleArn: arn:aws:iam::123456789012:role/any
      DefinitionS3Location: {Bucket: artifacts, Key: machine.json}
      DefinitionSubstitutions: {Says: !Ref Says, Fails: Refused}
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
      Targets: [{Id: start, Arn: !Ref Machine, RoleArn: arn:aws:iam::123456789012:role/any}]
  Dead: {Type: AWS::SQS::Queue, Properties: {QueueName: dead}}
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: queue, RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}}
  Schedule:
    Type: AWS::Scheduler::Schedule
    Properties:
      Name: schedule
      Target: {Arn: !GetAtt Queue.Arn, Input: '{"scheduled": "<aws.scheduler.scheduled-time>"}'}
  Pipe:
    Type: AWS::Pipes::Pipe
    Properties:
      Source: !GetAtt Queue.Arn
      SourceParameters: {SqsQueueParameters: {BatchSize: 1}}
      Target: !Ref Machine
      TargetParameters:
        StepFunctionStateMachineParameters: {InvocationType: REQUEST_RESPONSE}
        InputTemplate: '{"at": <$.body.scheduled>}'
"""
# It says what it was started with, and refuses what has no "at" and is no event.
DEFINITION: dict[str, Any] = {
    "StartAt": "Which",
    "States": {
        "Which": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$[0].at", "IsPresent": True, "Next": "Says"},
                {"Variable": "$.source", "IsPresent": True, "Next": "Says"},
            ],
            "Default": "Refuses",
        },
        "Says": {
            "Type": "Pass",
            "Parameters": {"says": "${Says}", "given.$": "$", "started.$": "$$.Execution.StartTime"},
            "End": True,
        },
        "Refuses": {"Type": "Fail", "Error": "${Fails}", "Cause": "there is nothing to say"},
    },
}
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:machine"


@pytest.fixture(scope="module")
def made() -> Any:
    with engine() as started:
        boto3.client("s3").create_bucket(Bucket="artifacts")
        boto3.client("s3").put_object(Bucket="artifacts", Key="machine.json", Body=json.dumps(DEFINITION))
        formation = boto3.client("cloudformation")
        formation.create_stack(StackName="stack", TemplateBody=STACK)
        assert formation.describe_stacks(StackName="stack")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        yield started


def start_sync(machine: str, given: Any) -> dict[str, Any]:
    client = boto3.client("stepfunctions", config=Config(inject_host_prefix=False))
    answer: dict[str, Any] = client.start_sync_execution(stateMachineArn=machine, input=json.dumps(given))
    return answer


def events_of(made: Engine, kind: str) -> list[Any]:
    """The events of a kind that a rule started executions with."""
    ended = [made.ended(execution["executionArn"]) for execution in made.executions(MACHINE)]
    given = [json.loads(execution["input"]) for execution in ended]
    return [event for event in given if "source" in event and event["detail-type"] == kind]


@pytest.mark.usefixtures("made")
def test_start_sync_execution_answers_once_it_is_over():
    """https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartSyncExecution.html"""
    answer = start_sync(MACHINE, [{"at": "now"}])
    output = json.loads(answer["output"])
    assert (answer["status"], output["says"], output["given"]) == ("SUCCEEDED", "hello", [{"at": "now"}])
    told = {"executionArn", "stateMachineArn", "name", "startDate", "stopDate", "status", "input", "output"}
    assert answer.keys() - {"ResponseMetadata"} == told
    failed = start_sync(MACHINE, [{}])
    assert (failed["status"], failed["error"], failed["cause"]) == ("FAILED", "Refused", "there is nothing to say")
    assert "output" not in failed


@pytest.mark.usefixtures("made")
def test_a_standard_machine_is_not_waited_for():
    client = boto3.client("stepfunctions")
    standard = client.create_state_machine(name="standard", definition=json.dumps(DEFINITION), roleArn=ROLE)
    with pytest.raises(ClientError, match="StateMachineTypeNotSupported"):
        start_sync(standard["stateMachineArn"], [])


@pytest.mark.usefixtures("made")
def test_an_execution_without_a_name_has_one_of_its_own():
    client = boto3.client("stepfunctions")
    started = [client.start_execution(stateMachineArn=MACHINE)["executionArn"] for _ in range(2)]
    assert len(set(started)) == 2


@pytest.mark.usefixtures("made")
def test_the_context_objects_start_is_a_text():
    """https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html"""
    started = json.loads(start_sync(MACHINE, [{"at": "now"}])["output"])["started"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started)


@pytest.mark.usefixtures("made")
def test_a_machine_of_a_stack_has_its_kind_and_its_values_as_they_stand():
    """CloudFormation puts in a text for a text; what is no JSON then is refused."""
    machine = boto3.client("stepfunctions").describe_state_machine(stateMachineArn=MACHINE)
    assert machine["type"] == "EXPRESS"
    assert json.loads(machine["definition"])["States"]["Says"]["Parameters"]["says"] == "hello"
    with pytest.raises(Exception, match="ASLParserException"):
        boto3.client("cloudformation").create_stack(
            StackName="quoted", TemplateBody=STACK, Parameters=[{"ParameterKey": "Says", "ParameterValue": '{"a": 1}'}]
        )


@pytest.mark.usefixtures("made")
def test_a_function_of_a_stack_has_its_image_and_its_command():
    found = boto3.client("lambda").get_function(FunctionName="function")
    assert found["Configuration"]["PackageType"] == "Image"
    assert found["Configuration"]["ImageConfigResponse"]["ImageConfig"]["Command"] == ["lambda", "etl"]
    assert found["Code"]["ImageUri"] == "1.dkr.ecr/fraudline/etl@sha256:0"


def test_a_rule_starts_its_machine_with_the_event(made: Engine):
    """https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html"""
    entries = [{"Source": source, "DetailType": "Said", "Detail": '{"a": 1}'} for source in ("bank", "another")]
    boto3.client("events").put_events(Entries=entries)
    (event,) = events_of(made, "Said")
    names = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
    assert event.keys() == names
    assert (event["source"], event["detail"]) == ("bank", {"a": 1})
    assert (event["version"], event["account"], event["region"]) == ("0", "123456789012", "us-east-1")
    assert datetime.fromisoformat(event["time"]) - datetime.now(UTC) < timedelta(minutes=1)


def test_an_object_that_is_created_is_an_event(made: Engine):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""
    boto3.client("s3").put_object(Bucket="results", Key="history/a.json", Body=b"{}")
    (event,) = events_of(made, "Object Created")
    assert event["source"] == "aws.s3"
    assert event["detail"]["bucket"] == {"name": "results"}
    assert event["detail"]["object"]["key"] == "history/a.json"


def test_a_schedule_sends_its_own_time_in_utc(made: Engine):
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html"""
    made.fire("Schedule", datetime(2026, 4, 2, 6, tzinfo=timezone(timedelta(hours=2))))
    (message,) = received(queue_of("queue"))
    assert json.loads(message["Body"]) == {"scheduled": "2026-04-02T04:00:00Z"}


def test_a_pipe_brings_an_array_and_deletes_what_ended_well(made: Engine):
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html"""
    made.fire("Schedule", datetime(2026, 4, 2, 6, tzinfo=UTC))
    (answer,) = made.poll("Pipe")
    assert json.loads(answer["input"]) == [{"at": "2026-04-02T06:00:00Z"}]
    assert made.poll("Pipe") == []


def test_what_fails_comes_again_until_it_is_set_aside(made: Engine):
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html"""
    boto3.client("sqs").send_message(QueueUrl=queue_of("queue"), MessageBody="not JSON")
    assert [[answer["status"] for answer in made.poll("Pipe")] for _ in range(3)] == [["FAILED"], ["FAILED"], []]
    assert [message["Body"] for message in received(queue_of("dead"))] == ["not JSON"]


@pytest.mark.parametrize(
    ("template", "record", "expected"),
    [
        ('{"a": <$.body.key>}', {"body": {"key": "text"}}, {"a": "text"}),
        ('{"a": <$.body>, "b": "as it stands"}', {"body": {"key": [1]}}, {"a": {"key": [1]}, "b": "as it stands"}),
        ('{"a": <$.body.key>, "b": <$.body.other>}', {"body": {"key": 1}}, {"a": 1}),
    ],
)
def test_an_input_template_is_filled_in(template: str, record: Any, expected: Any):
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-input-transformation.html"""
    assert transformed(template, record) == expected


def test_nothing_of_a_stack_is_lost(made: Engine):
    """What moto's CloudFormation passes over is kept, with what it refers to."""
    assert made.kept.keys() == {"Schedule", "Pipe"}
    assert made.kept["Pipe"]["Target"] == MACHINE
