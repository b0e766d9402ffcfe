"""The template of what an account needs before any stack: repositories for images, and a bucket for artifacts."""

from __future__ import annotations

import json
from typing import Any

from fraudline.catalog.stage import Image
from fraudline.catalog.stages import IMAGES
from fraudline.orchestration.stack.intrinsics import Noted, Resource, arn, ref, sub
from fraudline.orchestration.stack.policies import document
from fraudline.orchestration.stack.storage import KEPT, OLD_VERSIONS, PRIVATE, tls_only

UNTAGGED_DAYS = 14
TAGS = 100  # two for each release


def foundation() -> dict[str, Any]:
    """Return the foundation's template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Fraudline - what every stack of an account shares: repositories, and a bucket for artifacts",
        "Resources": Noted(
            "Written by make docs from src/fraudline/orchestration/stack/foundation.py.\n",
            {
                "ArtifactsBucket": _bucket(),
                "ArtifactsBucketPolicy": tls_only("ArtifactsBucket"),
                **{f"{image.title()}Repository": _repository(image) for image in IMAGES},
            },
        ),
        "Outputs": {
            "ArtifactsBucket": {"Description": "Where make deploy uploads to", "Value": ref("ArtifactsBucket")},
            "Registry": {
                "Description": "The prefix for make publish REGISTRY=",
                "Value": sub("${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/"),
            },
        },
    }


def _bucket() -> Resource:
    encryption = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    return {
        "Type": "AWS::S3::Bucket",
        **KEPT,
        "Properties": {
            "BucketName": sub("fraudline-artifacts-${AWS::AccountId}-${AWS::Region}"),
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
            "VersioningConfiguration": {"Status": "Enabled"},
            **PRIVATE,
            "LifecycleConfiguration": {"Rules": [OLD_VERSIONS]},
        },
    }


def _repository(image: Image) -> Resource:
    # Lambda pulls with its own identity, not with a function's role.
    pull = {
        "Sid": "LambdaPullsForItself",
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Condition": {"ArnLike": {"aws:SourceArn": arn("lambda", "function:*")}},
    }
    return {
        "Type": "AWS::ECR::Repository",
        **KEPT,
        "Properties": {
            "RepositoryName": f"fraudline/{image}",
            "ImageTagMutability": "IMMUTABLE",
            "ImageScanningConfiguration": {"ScanOnPush": True},
            "LifecyclePolicy": {"LifecyclePolicyText": json.dumps({"rules": _expiry()})},
            "RepositoryPolicyText": document(pull),
        },
    }


def _expiry() -> list[dict[str, Any]]:
    untagged = {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": UNTAGGED_DAYS}
    too_many = {"countType": "imageCountMoreThan", "countNumber": TAGS}
    rules = [
        (f"untagged images after {UNTAGGED_DAYS} days", {"tagStatus": "untagged", **untagged}),
        (f"the oldest of more than {TAGS} images, two for each release", {"tagStatus": "any", **too_many}),
    ]
    return [
        {"rulePriority": priority, "description": text, "selection": selection, "action": {"type": "expire"}}
        for priority, (text, selection) in enumerate(rules, start=1)
    ]
