"""CloudFormation's joints refuse, roll back, retain and import as AWS documents it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.aws.engine import engine
from tests.aws.formation import BODY_BYTES, PAGE, violations

pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")

PIPE = {
    "RoleArn": "arn:aws:iam::123456789012:role/r",
    "Source": "arn:aws:sqs:us-east-1:123456789012:q",
    "Target": "arn:aws:states:us-east-1:123456789012:stateMachine:m",
}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    with engine():
        yield


def bucket(name: Any, policy: str = "Delete") -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "DeletionPolicy": policy, "Properties": {"BucketName": name}}


# It fails after the buckets, on which it depends.
BROKEN = {"Type": "AWS::Pipes::Pipe", "Properties": {"Source": "x"}}


def create(resources: dict[str, Any], name: str = "stack", **options: Any) -> str:
    """Execute a change set of a new stack, and return the stack's id."""
    client, body = boto3.client("cloudformation"), json.dumps({"Resources": resources})
    names = {"StackName": name, "ChangeSetName": "create"}
    answer = client.create_change_set(**names, TemplateBody=body, ChangeSetType="CREATE", **options)
    client.execute_change_set(**names)
    return str(answer["StackId"])


def status(stack: str) -> str:
    return str(boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


def failures(stack: str) -> list[str]:
    """Return the reasons of all failures, the first one first."""
    pages = boto3.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
    events = [event for page in pages for event in page["StackEvents"]]
    return [it["ResourceStatusReason"] for it in reversed(events) if it["ResourceStatus"] == "CREATE_FAILED"]


def buckets() -> list[str]:
    return [it["Name"] for it in boto3.client("s3").list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"Target": None}, "'Target' is a required property"),
        ({"DesiredState": "PAUSED"}, "'PAUSED' is not one of"),
        ({"RoleArn": "role"}, "does not match"),
        ({"Queue": "x"}, "Additional properties are not allowed"),
    ],
)
def test_properties_must_match_the_published_schema(change: dict[str, Any], expected: str):
    properties = {name: value for name, value in {**PIPE, **change}.items() if value is not None}
    assert expected in "\n".join(violations("AWS::Pipes::Pipe", properties))
    stack = create({"Pipe": {"Type": "AWS::Pipes::Pipe", "Properties": properties}})
    assert status(stack) == "ROLLBACK_COMPLETE"
    assert expected in failures(stack)[0]


def test_text_stands_for_numbers_and_booleans():
    """CloudFormation's parameters are text."""
    assert not violations("AWS::Pipes::Pipe", {**PIPE, "SourceParameters": {"SqsQueueParameters": {"BatchSize": "1"}}})


@pytest.mark.parametrize(("policy", "kept"), [("Delete", []), ("RetainExceptOnCreate", []), ("Retain", ["kept"])])
def test_a_rollback_keeps_what_the_policy_retains(policy: str, kept: list[str]):
    stack = create({"Bucket": bucket("kept", policy), "Broken": BROKEN})
    assert status(stack) == "ROLLBACK_COMPLETE"
    assert buckets() == kept


@pytest.mark.parametrize(("policy", "kept"), [("Delete", []), ("RetainExceptOnCreate", ["kept"]), ("Retain", ["kept"])])
def test_a_deletion_keeps_what_the_policy_retains(policy: str, kept: list[str]):
    create({"Bucket": bucket("kept", policy)})
    boto3.client("cloudformation").delete_stack(StackName="stack")
    assert buckets() == kept


def test_a_deleted_stack_is_described_by_its_id_only():
    stack = create({"Broken": BROKEN}, OnStackFailure="DELETE")
    assert status(stack) == "DELETE_COMPLETE"
    assert "'Target' is a required property" in failures(stack)[0]
    with pytest.raises(ClientError, match="does not exist"):
        failures("stack")


def test_events_come_in_pages_newest_first():
    others = {f"Bucket{it}": {**bucket(f"b{it}"), "DependsOn": "Broken"} for it in range(2 * PAGE)}
    stack = create({"Broken": BROKEN, **others})
    page = boto3.client("cloudformation").describe_stack_events(StackName=stack)
    assert page["StackEvents"][0]["ResourceStatus"] == "ROLLBACK_COMPLETE"
    assert "NextToken" in page
    first, *cancelled = failures(stack)
    assert "required property" in first
    assert set(cancelled) == {"Resource creation cancelled"}


@pytest.mark.parametrize(
    ("name", "policy", "imports", "adopted"),
    [
        ("mine", "Retain", True, True),
        ("mine", "RetainExceptOnCreate", True, True),
        ("mine", "Retain", False, False),
        ("mine", "Delete", True, False),
        ({"Fn::Sub": "mine"}, "Retain", True, False),  # a name must be text
    ],
)
def test_an_existing_resource_is_imported_by_its_name(name: Any, policy: str, imports: bool, adopted: bool):
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html
    boto3.client("s3").create_bucket(Bucket="mine")
    stack = create({"Bucket": bucket(name, policy)}, ImportExistingResources=imports)
    assert status(stack) == ("CREATE_COMPLETE" if adopted else "ROLLBACK_COMPLETE")
    assert failures(stack) == ([] if adopted else ["mine already exists"])
    assert buckets() == ["mine"]


def test_a_rollback_leaves_what_was_imported():
    boto3.client("s3").create_bucket(Bucket="mine")
    resources = {"Bucket": bucket("mine", "RetainExceptOnCreate"), "Broken": BROKEN}
    assert status(create(resources, ImportExistingResources=True)) == "ROLLBACK_COMPLETE"
    assert buckets() == ["mine"]


def test_what_another_stack_has_is_not_imported():
    create({"Bucket": bucket("theirs", "Retain")}, "other")
    stack = create({"Bucket": bucket("theirs", "Retain")}, ImportExistingResources=True)
    assert failures(stack) == ["theirs already exists"]


def test_a_request_beyond_its_limits_is_refused():
    client = boto3.client("cloudformation")
    request = {"StackName": "s", "ChangeSetName": "c", "ChangeSetType": "CREATE"}
    template: dict[str, Any] = {"Resources": {"Bucket": bucket("b")}, "Description": "x" * BODY_BYTES}
    with pytest.raises(ClientError, match="templateBody"):
        client.create_change_set(**request, TemplateBody=json.dumps(template))
    declared = {
        "Name": {"Type": "String", "AllowedPattern": "[a-z]+"},
        "Mode": {"Type": "String", "AllowedValues": ["A"]},
    }
    template = {"Resources": {"Bucket": bucket("b")}, "Parameters": declared}
    for name, value, expected in [("Name", "B", "failed to satisfy constraint"), ("Mode", "C", "must be one of")]:
        values = [{"ParameterKey": name, "ParameterValue": value}]
        with pytest.raises(ClientError, match=expected):
            client.create_change_set(**request, TemplateBody=json.dumps(template), Parameters=values)
