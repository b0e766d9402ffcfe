"""What roles may do: statements, policies, and the managed policies that each kind of job shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fraudline.orchestration.stack.intrinsics import (
    NOTHING,
    Resource,
    Resources,
    Value,
    arn,
    attribute,
    choose,
    ref,
    sub,
)
from fraudline.orchestration.stack.parameters import KEY

Statement = dict[str, Any]

OF_THIS_ACCOUNT = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}


def statement(
    sid: str, actions: Value, resources: Value, condition: Value = None, *, principal: Value = None
) -> Statement:
    """Return what is allowed; lists of one are written as their element."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        **({"Principal": principal} if principal else {}),
        "Action": _unwrapped(actions),
        "Resource": _unwrapped(resources),
        **({"Condition": condition} if condition else {}),
    }


def _unwrapped(value: Value) -> Value:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def document(*statements: Statement) -> dict[str, Any]:
    """Return a policy's document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def encrypt(*further: str) -> Statement:
    """Allow to use the key: writing to an encrypted queue, topic, table or bucket takes both actions."""
    return statement("Encrypt", ["kms:Decrypt", "kms:GenerateDataKey", *further], KEY)


def pass_roles(sid: str, roles: Value) -> Statement:
    """Allow to run SageMaker's jobs and endpoints as roles."""
    return statement(sid, "iam:PassRole", roles, {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}})


def role(
    services: Sequence[str],
    name: str,
    statements: Sequence[Statement],
    managed: Sequence[str] = (),
    condition: Value = None,
) -> Resource:
    """Return a role that AWS services assume.

    Args:
        services: who assumes it, such as ``lambda``.
        name: of its policy.
        statements: what it may do.
        managed: managed policies that it has besides.
        condition: when it may be assumed.
    """
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": _unwrapped([f"{service}.amazonaws.com" for service in services])},
        "Action": "sts:AssumeRole",
        **({"Condition": condition} if condition else {}),
    }
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": document(trust),
            **({"ManagedPolicyArns": [ref(policy) for policy in managed]} if managed else {}),
            "Policies": [{"PolicyName": name, "PolicyDocument": document(*statements)}],
        },
    }


def managed_policy(description: str, *statements: Statement) -> Resource:
    """Return a policy that several roles have."""
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {"Description": description, "PolicyDocument": document(*statements)},
    }


def job_policies() -> Resources:
    """Return what each service does on behalf of every job or function of its kind."""
    return {
        "JobPolicy": managed_policy(
            "What SageMaker does on behalf of any job",
            statement(
                "Pull",
                ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                arn("ecr", "repository/fraudline/*"),
            ),
            statement("LogIn", "ecr:GetAuthorizationToken", "*"),
            statement(
                "Log",
                ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                arn("logs", "log-group:/aws/sagemaker/*"),
            ),
            encrypt("kms:CreateGrant", "kms:DescribeKey"),
        ),
        "FunctionPolicy": managed_policy(
            "What Lambda does on behalf of any function",
            statement("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], attribute("FunctionsLogs")),
            statement("Trace", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*"),
            encrypt(),
        ),
        "GluePolicy": managed_policy(
            "What Glue does on behalf of any job",
            statement(
                "ReadWhatItRuns",
                "s3:GetObject",
                sub("arn:${AWS::Partition}:s3:::${ArtifactsBucket}/${ArtifactsPrefix}/*"),
            ),
            statement(
                "Log",
                ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                arn("logs", "log-group:/aws-glue/*"),
            ),
            statement("Measure", "cloudwatch:PutMetricData", "*", {"StringEquals": {"cloudwatch:namespace": "Glue"}}),
            encrypt("kms:Encrypt"),
        ),
    }


_NETWORK = {
    "Job": (
        "SageMaker",
        [
            "ec2:CreateNetworkInterface",
            "ec2:CreateNetworkInterfacePermission",
            "ec2:DeleteNetworkInterface",
            "ec2:DeleteNetworkInterfacePermission",
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ],
    ),
    "Function": (
        "Lambda",
        [
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
        ],
    ),
    "Glue": (
        "Glue",
        [
            "ec2:CreateNetworkInterface",
            "ec2:CreateTags",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcEndpoints",
            "glue:GetConnection",
        ],
    ),
}


def network_policies(roles: dict[str, list[str]]) -> Resources:
    """Return what each service needs to join the network, for the roles of its kind: Job, Function or Glue."""
    return {
        f"{kind}NetworkPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Condition": "InVpc",
            "Properties": {
                "Description": f"How {service} joins the network",
                "Roles": [_if_it_exists(name) for name in roles[kind]],
                "PolicyDocument": document(statement("JoinTheNetwork", actions, "*")),
            },
        }
        for kind, (service, actions) in _NETWORK.items()
    }


def _if_it_exists(role: str) -> Value:
    """Return a reference to a role; the role of pipelines exists with that engine only."""
    return choose("Pipelines", ref(role), NOTHING) if role == "PipelineRole" else ref(role)
