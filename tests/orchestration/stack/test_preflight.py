"""Limits and names of an account are problems before a deployment, each with its command."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fraudline.orchestration.stack.preflight import problems

ACCOUNT = {"concurrency": 1000, "sagemaker": {"ml.m5.xlarge for processing job usage": 1.0}, "groups": []}


def client(service: str, account: dict[str, Any]) -> Any:
    """Return a client that answers from an account; botocore checks the answers against the service's model."""
    made = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(made)
    if service == "lambda":
        if account["concurrency"] is None:
            stubber.add_client_error("get_account_settings", "AccessDeniedException")
        else:
            limit = {"ConcurrentExecutions": account["concurrency"]}
            stubber.add_response("get_account_settings", {"AccountLimit": limit})
    if service == "service-quotas":
        for code in ("sagemaker", "glue"):
            quotas = [
                {"QuotaName": name, "QuotaCode": "L-1", "Value": value} for name, value in account.get(code, {}).items()
            ]
            stubber.add_response("list_service_quotas", {"Quotas": quotas}, {"ServiceCode": code})
    if service == "logs":
        groups = [{"logGroupName": name} for name in account["groups"]]
        for _ in range(3):
            stubber.add_response("describe_log_groups", {"logGroups": groups})
    stubber.activate()
    return made


def found(values: dict[str, str], *, new: bool = True, **account: Any) -> list[str]:
    clients = {name: client(name, {**ACCOUNT, **account}) for name in ("lambda", "service-quotas", "logs")}
    return problems("fraud", values, new=new, clients=clients.__getitem__)


@pytest.mark.parametrize("concurrency", [10, 1000])
def test_the_defaults_work_in_a_new_account(concurrency: int):
    assert not found({}, concurrency=concurrency)


@pytest.mark.parametrize(
    ("values", "account", "expected"),
    [
        ({"FunctionMemory": "6144"}, {"concurrency": 10}, "make deploy ARGS='--set FunctionMemory=3008'"),
        ({}, {"concurrency": 2}, "request-service-quota-increase --service-code lambda"),
        (
            {},
            {"sagemaker": {"ml.m5.xlarge for processing job usage": 0.0}},
            "the quota is 0, and the stack needs 1; aws service-quotas request-service-quota-increase "
            "--service-code sagemaker --quota-code L-1 --desired-value 1",
        ),
        (
            {"TrainingInstance": "ml.c5.large"},
            {"sagemaker": {"ml.c5.large for training job usage": 0.0}},
            "ml.c5.large for training job usage: the quota is 0",
        ),
        (
            {"Hosting": "Endpoint", "ServingInstance": "ml.t2.medium", "ServingInstances": "2"},
            {"sagemaker": {"ml.t2.medium for endpoint usage": 1.0}},
            "ml.t2.medium for endpoint usage: the quota is 1, and the stack needs 2",
        ),
        ({}, {"glue": {"Max task DPUs per account": 4.0}}, "the quota is 4, and the stack needs 5"),
        ({}, {"groups": ["/fraud/functions"]}, "aws logs delete-log-group --log-group-name /fraud/functions"),
    ],
)
def test_a_limit_names_the_command_that_raises_it(values: dict[str, str], account: dict[str, Any], expected: str):
    (problem,) = found(values, **account)
    assert expected in problem


def test_an_endpoint_needs_no_quota_until_it_is_hosted():
    assert not found({}, sagemaker={"ml.m5.large for endpoint usage": 0.0})


def test_names_of_an_existing_stack_are_its_own():
    assert not found({}, new=False, groups=["/fraud/functions"])


def test_what_may_not_be_asked_is_not_a_problem(capsys: pytest.CaptureFixture[str]):
    assert not found({}, concurrency=None)
    assert "not checked: GetAccountSettings answered AccessDeniedException" in capsys.readouterr().out
