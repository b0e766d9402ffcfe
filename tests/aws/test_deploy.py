"""make deploy and make destroy against an AWS over HTTP, as far as that one knows CloudFormation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from tests.aws.conftest import DIGEST

# That server passes over what it does not know: it tells so by a warning.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse", "ignore:.*unclosed")


@pytest.fixture
def given(published: list[str], aws: None) -> list[str]:
    return published


def stacks() -> dict[str, Any]:
    return {it["StackName"]: it for it in boto3.client("cloudformation").describe_stacks()["Stacks"]}


def keys(bucket: str) -> list[str]:
    return [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_a_dry_run_shows_what_would_be_and_leaves_nothing(deploying: ModuleType, given: list[str], capsys: Any):
    assert deploying.main(["deploy", "--name", "dry", "--dry-run", *given]) == 0
    assert "fraudline-foundation: Add AWS::ECR::Repository EtlRepository" in capsys.readouterr().out
    assert not stacks()


def test_a_deployment_makes_both_stacks_and_begins_without_a_champion(
    deploying: ModuleType, given: list[str], capsys: Any
):
    assert deploying.main(["deploy", "--name", "one", "--set", "Threshold=0.7", *given]) == 0
    made = stacks()
    assert {made[name]["StackStatus"] for name in ("fraudline-foundation", "one-stack")} == {"CREATE_COMPLETE"}
    parameters = {it["ParameterKey"]: it["ParameterValue"] for it in made["one-stack"]["Parameters"]}
    assert parameters["Threshold"] == "0.7"
    assert parameters["TrainImage"] == f"1.dkr.ecr/fraudline/train@{DIGEST}"  # a tag could move
    assert [module.split("==")[0] for module in parameters["GlueModules"].split(",")] == ["boto3", "numpy", "polars"]
    uploaded = keys(parameters["ArtifactsBucket"])
    files = ["jobs/fraud_data_extract.py", "state_machines/daily.asl.json", parameters["Wheel"], "stack.yaml"]
    assert {f"{parameters['ArtifactsPrefix']}/{name}" for name in files} <= set(uploaded)

    root = next(it["OutputValue"] for it in made["one-stack"]["Outputs"] if it["OutputKey"] == "Root")
    pointer = {"Bucket": root.removeprefix("s3://"), "Key": "champion/current.json"}
    assert json.load(boto3.client("s3").get_object(**pointer)["Body"]) == {"champion": None}
    assert f"Root\t{root}" in capsys.readouterr().out

    assert deploying.main(["destroy", "--name", "one", "--dry-run"]) == 0
    assert "one-stack" in stacks()
    assert deploying.main(["destroy", "--name", "one"]) == 0
    assert "one-stack" not in stacks()
    assert "fraudline-foundation" in stacks()


TOPIC = """
Parameters: {Name: {Type: String}, Display: {Type: String, Default: none}, Owner: {Type: String, Default: nobody}}
Resources: {Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: !Ref Display, TopicName: !Ref Name}}}
"""


@pytest.mark.usefixtures("aws")
def test_what_was_set_stays_set(deploying: ModuleType):
    """On a stack of one topic: that server can't change one as large as ours."""
    cloud = deploying.Cloud("small", dry_run=False)
    cloud.change("small", {"TemplateBody": TOPIC}, {"Name": "small", "Display": "first"})
    cloud.change("small", {"TemplateBody": TOPIC}, {"Owner": "somebody"})
    parameters = {it["ParameterKey"]: it["ParameterValue"] for it in stacks()["small"]["Parameters"]}
    assert parameters == {"Name": "small", "Display": "first", "Owner": "somebody"}
    deploying.Cloud("small", dry_run=True).change("small", {"TemplateBody": TOPIC}, {"Display": "other"})
    assert {it["ParameterKey"]: it["ParameterValue"] for it in stacks()["small"]["Parameters"]} == parameters


@pytest.mark.usefixtures("aws")
def test_a_champion_is_never_forgotten(deploying: ModuleType):
    s3, pointer = boto3.client("s3"), {"Bucket": "kept", "Key": "champion/current.json"}
    s3.create_bucket(Bucket="kept")
    cloud = deploying.Cloud("any", dry_run=False)
    cloud.begin("s3://kept")
    assert json.load(s3.get_object(**pointer)["Body"]) == {"champion": None}
    s3.put_object(**pointer, Body=b"a champion")
    cloud.begin("s3://kept")
    assert s3.get_object(**pointer)["Body"].read() == b"a champion"


def test_the_same_content_has_the_same_address_and_other_content_another(
    deploying: ModuleType, aws: None, tmp_path: Path
):
    boto3.client("s3").create_bucket(Bucket="artifacts")
    cloud, file = deploying.Cloud("any", dry_run=False), tmp_path / "a.json"
    file.write_text("1")
    first = cloud.upload("artifacts", {"a.json": file})
    assert cloud.upload("artifacts", {"a.json": file}) == first
    file.write_text("2")
    assert cloud.upload("artifacts", {"a.json": file}) != first


def test_what_has_to_be_done_first_is_told(deploying: ModuleType, given: list[str], tmp_path: Path, capsys: Any):
    assert deploying.main(["deploy", "--name", "two", "--set", "Treshold=0.7", *given]) == 2
    assert re.search("--set Treshold: no such parameter; there are .*, Threshold, ", capsys.readouterr().err)
    assert deploying.main(["deploy", "--name", "two", "--images", str(tmp_path / "none"), *given[2:]]) == 2
    assert "make publish REGISTRY=123456789012.dkr.ecr.us-east-1" in capsys.readouterr().err
    assert deploying.main(["deploy", "--name", "two", "--set", "Threshold", *given]) == 2
    assert "--set: expected PARAMETER=VALUE, got 'Threshold'" in capsys.readouterr().err
    assert deploying.main(["destroy", "--name", "nobodys"]) == 0
