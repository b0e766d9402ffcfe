"""make deploy and make destroy against an AWS over HTTP, as far as that server knows CloudFormation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.cloudformation.models import Stack, cloudformation_backends

from fraudline.catalog.errors import InputError
from fraudline.orchestration.stack import deploy
from fraudline.orchestration.stack.cloud import Cloud
from tests.aws import formation
from tests.aws.conftest import DIGEST, GLUE, Run
from tests.aws.engine import ACCOUNT, REGION, engine

pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed")


@pytest.fixture
def aws() -> Iterator[None]:
    with engine():
        yield


@pytest.fixture
def options(published: list[str], aws: None) -> list[str]:
    return published


def stacks() -> dict[str, Any]:
    return {it["StackName"]: it for it in boto3.client("cloudformation").describe_stacks()["Stacks"]}


def parameters(stack: str) -> dict[str, str]:
    return {it["ParameterKey"]: it["ParameterValue"] for it in stacks()[stack]["Parameters"]}


def keys(bucket: str) -> list[str]:
    return [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_script_deploys_from_its_own_folder():
    command = [sys.executable, str(GLUE / "deploy.py"), "--help"]
    assert "deploy,destroy" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_dry_run_shows_changes_and_leaves_nothing(run: Run, options: list[str], capsys: Any):
    assert run(["deploy", "--name", "dry", "--dry-run", *options]) == 0
    assert "fraudline-foundation: Add AWS::ECR::Repository EtlRepository" in capsys.readouterr().out
    assert not stacks()


def test_a_deployment_creates_both_stacks_without_a_champion(run: Run, options: list[str], capsys: Any):
    assert run(["deploy", "--name", "one", "--set", "Threshold=0.7", *options]) == 0
    created = stacks()
    assert {created[name]["StackStatus"] for name in ("fraudline-foundation", "one-stack")} == {"CREATE_COMPLETE"}
    values = parameters("one-stack")
    assert values["Threshold"] == "0.7"
    assert values["TrainImage"] == f"1.dkr.ecr/fraudline/train@{DIGEST}"  # a tag could move
    assert [module.split("==")[0] for module in values["GlueModules"].split(",")] == ["boto3", "numpy", "polars"]
    uploaded = keys(values["ArtifactsBucket"])
    files = ["jobs/fraud_data_extract.py", "state_machines/daily.asl.json", values["Wheel"], "stack.yaml"]
    assert {f"{values['ArtifactsPrefix']}/{name}" for name in files} <= set(uploaded)

    root = next(it["OutputValue"] for it in created["one-stack"]["Outputs"] if it["OutputKey"] == "Root")
    pointer = {"Bucket": root.removeprefix("s3://"), "Key": "champion/current.json"}
    assert json.load(boto3.client("s3").get_object(**pointer)["Body"]) == {"champion": None}
    assert f"Root\t{root}" in capsys.readouterr().out

    assert run(["destroy", "--name", "one", "--dry-run"]) == 0
    assert "one-stack" in stacks()
    assert run(["destroy", "--name", "one"]) == 0
    assert "one-stack" not in stacks()
    assert "fraudline-foundation" in stacks()


def test_the_settings_file_sets_parameters_and_set_replaces_them(run: Run, options: list[str], tmp_path: Path):
    file = tmp_path / "site.toml"
    file.write_text(
        '[site]\nname = "bank"\n[input]\ncolumns = { merchant = "SHOP" }\n'
        "[parameters]\nthreshold = 0.7\nreview_budget = 50\n"
    )
    replaced = ["--set", "review_budget=60", "--set", "Seed=3"]  # a setting's name or a parameter's
    assert run(["deploy", "--settings", str(file), *replaced, *options]) == 0
    values = parameters("bank-stack")
    names = ("Name", "Column", "Threshold", "ReviewBudget", "Seed")
    assert [values[name] for name in names] == ["bank", "merchant=SHOP", "0.7", "60", "3"]
    assert run(["destroy", "--settings", str(file)]) == 0
    assert "bank-stack" not in stacks()


NAMES = ("BucketName", "TableName", "RepositoryName")
TOPIC = """
Parameters: {Name: {Type: String}, Display: {Type: String, Default: none}, Owner: {Type: String, Default: nobody}}
Resources: {Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: !Ref Display, TopicName: !Ref Name}}}
"""


@pytest.mark.usefixtures("aws")
def test_a_parameter_keeps_its_value_until_it_is_set_again():
    """On a stack of one topic: the server can't update a stack as large as ours."""
    cloud = Cloud()
    cloud.apply("small", {"TemplateBody": TOPIC}, {"Name": "small", "Display": "first"})
    cloud.apply("small", {"TemplateBody": TOPIC}, {"Owner": "somebody"})
    assert parameters("small") == {"Name": "small", "Display": "first", "Owner": "somebody"}
    Cloud(dry_run=True).apply("small", {"TemplateBody": TOPIC}, {"Display": "other"})
    assert parameters("small") == {"Name": "small", "Display": "first", "Owner": "somebody"}


def root(stack: str) -> str:
    return next(it["OutputValue"] for it in stacks()[stack]["Outputs"] if it["OutputKey"] == "Root")


def test_a_stack_is_deployed_again_after_it_was_destroyed(run: Run, options: list[str]):
    """What was kept is adopted, and so is the key that encrypted it."""
    assert run(["deploy", "--name", "Ceap-1", *options]) == 0
    bucket = root("Ceap-1-stack").removeprefix("s3://")
    assert bucket == "ceap-1-results-123456789012-us-east-1"  # buckets have no upper case
    champion = {"Bucket": bucket, "Key": "champion/current.json"}
    boto3.client("s3").put_object(**champion, Body=b"a champion")
    key = Cloud().key_of(bucket)
    assert key.startswith("arn:aws:kms:")
    boto3.client("dynamodb").put_item(TableName="Ceap-1_scores", Item={"key": {"S": "kept"}})

    assert run(["destroy", "--name", "Ceap-1"]) == 0
    assert run(["deploy", "--name", "Ceap-1", *options]) == 0
    assert stacks()["Ceap-1-stack"]["StackStatus"] == "CREATE_COMPLETE"
    assert boto3.client("s3").get_object(**champion)["Body"].read() == b"a champion"
    assert boto3.client("dynamodb").scan(TableName="Ceap-1_scores")["Count"] == 1
    assert parameters("Ceap-1-stack")["KmsKeyArn"] == key


def test_a_creation_that_failed_leaves_nothing(
    run: Run, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """Its first failure is shown, from pages of later ones, and the next deployment works."""
    violations = formation.violations

    def failing(kind: str, properties: Any) -> list[str]:
        return ["the quota of 0 is exceeded"] if kind == "AWS::Pipes::Pipe" else violations(kind, properties)

    with monkeypatch.context() as context:
        context.setattr(formation, "violations", failing)
        assert run(["deploy", *options]) == 2
    error = capsys.readouterr().err
    assert re.search("stack 'fraud-stack' failed: TrainingPipe: .*quota of 0.*; raise it: aws service-quotas", error)
    assert [it["Name"] for it in boto3.client("s3").list_buckets()["Buckets"]] == [
        "fraudline-artifacts-123456789012-us-east-1"
    ]
    assert not boto3.client("dynamodb").list_tables()["TableNames"]
    assert run(["deploy", *options]) == 0


def test_a_stack_that_can_only_be_deleted_is_deleted_first(run: Run, options: list[str], capsys: Any):
    template = {"Resources": {"Broken": {"Type": "AWS::Pipes::Pipe", "Properties": {}}}}
    boto3.client("cloudformation").create_stack(StackName="fraud-stack", TemplateBody=json.dumps(template))
    assert stacks()["fraud-stack"]["StackStatus"] == "ROLLBACK_COMPLETE"
    assert run(["deploy", *options]) == 0
    assert "fraud-stack: ROLLBACK_COMPLETE; deleting what is left of it" in capsys.readouterr().out
    assert stacks()["fraud-stack"]["StackStatus"] == "CREATE_COMPLETE"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("status", "todo"),
    [
        ("UPDATE_IN_PROGRESS", "when that has ended: aws cloudformation describe-stacks --stack-name small"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback --stack-name small"),
    ],
)
def test_a_stack_that_cannot_be_updated_names_the_command(status: str, todo: str):
    Cloud().apply("small", {"TemplateBody": TOPIC}, {"Name": "small"})
    next(iter(cloudformation_backends[ACCOUNT][REGION].stacks.values())).status = status
    with pytest.raises(InputError, match=f"stack 'small' is {status}; .*{todo}"):
        Cloud().apply("small", {"TemplateBody": TOPIC}, {"Name": "other"})


def test_every_kept_name_of_an_uploaded_template_is_plain_text():
    """CloudFormation imports resources under such names only."""
    values = {"BucketPrefix": "b", "Name": "n", "AWS::AccountId": ACCOUNT, "AWS::Region": REGION}
    for file in ("foundation.yaml", "stack.yaml"):
        template = Stack.parse_template(deploy.with_names((GLUE / file).read_text(), values))
        kept = [it for it in template["Resources"].values() if it.get("DeletionPolicy") == "RetainExceptOnCreate"]
        for resource in kept:
            if resource["Type"] != "AWS::KMS::Key":  # its id can't be chosen; a deployment finds it by its bucket
                (name,) = (value for key, value in resource["Properties"].items() if key in NAMES)
                assert isinstance(name, str)


@pytest.mark.usefixtures("aws")
def test_a_champion_is_never_overwritten():
    s3, pointer = boto3.client("s3"), {"Bucket": "kept", "Key": "champion/current.json"}
    s3.create_bucket(Bucket="kept")
    Cloud().create_pointer("s3://kept")
    assert json.load(s3.get_object(**pointer)["Body"]) == {"champion": None}
    s3.put_object(**pointer, Body=b"a champion")
    Cloud().create_pointer("s3://kept")
    assert s3.get_object(**pointer)["Body"].read() == b"a champion"


@pytest.mark.usefixtures("aws")
def test_artifacts_have_an_address_of_their_content(tmp_path: Path):
    boto3.client("s3").create_bucket(Bucket="artifacts")
    cloud, file = Cloud(), tmp_path / "a.json"
    file.write_text("1")
    first = cloud.upload("artifacts", {"a.json": file})
    assert cloud.upload("artifacts", {"a.json": file}) == first
    file.write_text("2")
    assert cloud.upload("artifacts", {"a.json": file}) != first


def test_errors_name_what_to_do_first(run: Run, options: list[str], tmp_path: Path, capsys: Any):
    assert run(["deploy", "--name", "two", "--set", "Treshold=0.7", *options]) == 2
    assert re.search("--set Treshold: no such parameter; there are .*, Threshold, ", capsys.readouterr().err)
    assert run(["deploy", "--name", "two", "--images", str(tmp_path / "none"), *options[2:]]) == 2
    assert "make publish REGISTRY=123456789012.dkr.ecr.us-east-1" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(["deploy", "--name", "two", "--set", "Threshold", *options])
    assert "--set: expected PARAMETER=VALUE, got 'Threshold'" in capsys.readouterr().err
    assert run(["destroy", "--name", "nobodys"]) == 0
