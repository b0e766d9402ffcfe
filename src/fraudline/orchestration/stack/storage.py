"""What is stored: the key, the buckets and the tables. All of them outlive the stack."""

from __future__ import annotations

from typing import Any

from fraudline.orchestration.stack.intrinsics import Noted, Resource, Resources, Value, attribute, ref, sub
from fraudline.orchestration.stack.parameters import KEY
from fraudline.orchestration.stack.policies import document, statement

# A creation that fails leaves nothing: with Retain, the next one would find that these names exist.
KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
PRIVATE = {
    "PublicAccessBlockConfiguration": {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    },
    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
}
OLD_VERSIONS = {"Id": "old-versions", "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 30}}


def storage() -> Resources:
    """Return the key, the buckets and the tables."""
    return {
        "Key": _key(),
        "DataBucket": _bucket(
            "data",
            {
                "Id": "cold",
                "Status": "Enabled",
                "Prefix": "raw/",
                "Transitions": [{"StorageClass": "GLACIER_IR", "TransitionInDays": 270}],
            },
        ),
        "ResultsBucket": _bucket(
            "results",
            {
                "Id": "executions",
                "Status": "Enabled",
                "Prefix": "executions/",
                "ExpirationInDays": ref("RetentionDays"),
            },
            events=True,
        ),
        "DataBucketPolicy": tls_only("DataBucket"),
        "ResultsBucketPolicy": tls_only("ResultsBucket"),
        "ScoresTable": _scores_table(),
        "HistoryTable": _table("history", expires="expires"),
        "CasesTable": _table("cases"),
    }


def tls_only(bucket: str) -> Resource:
    """Return a bucket's policy that denies requests without TLS."""
    return {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {
            "Bucket": ref(bucket),
            "PolicyDocument": document(
                {
                    "Sid": "EncryptedOnTheWay",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [attribute(bucket), sub(f"${{{bucket}.Arn}}/*")],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ),
        },
    }


def _key() -> Resource:
    account = {"AWS": sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
    # These services use the key without a role of this stack.
    services = {
        "Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com", sub("logs.${AWS::Region}.amazonaws.com")]
    }
    actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    return {
        "Type": "AWS::KMS::Key",
        "Condition": "MakeKey",
        **KEPT,
        "Properties": {
            "Description": sub("${Name}: everything that is stored"),
            "EnableKeyRotation": True,
            "KeyPolicy": document(
                statement("TheAccountsOwnPoliciesDecide", "kms:*", "*", principal=account),
                statement("ServicesThatHaveNoRole", actions, "*", principal=services),
            ),
        },
    }


def _bucket(name: str, rule: dict[str, Any], *, events: bool = False) -> Resource:
    encryption = {
        "BucketKeyEnabled": True,
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
    }
    notified = {"NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}
    unfinished = {"Id": "unfinished", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
    return {
        "Type": "AWS::S3::Bucket",
        **KEPT,
        "Properties": {
            "BucketName": sub(f"${{BucketPrefix}}-{name}-${{AWS::AccountId}}-${{AWS::Region}}"),
            "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
            **(notified if events else {}),
            "VersioningConfiguration": {"Status": "Enabled"},
            **PRIVATE,
            "LifecycleConfiguration": {"Rules": [OLD_VERSIONS, unfinished, rule]},
        },
    }


def _table(name: str, expires: str = "", **indexes: Value) -> Resource:
    expiry = {"TimeToLiveSpecification": {"AttributeName": expires, "Enabled": True}} if expires else {}
    return {
        "Type": "AWS::DynamoDB::Table",
        **KEPT,
        "Properties": {
            "TableName": sub(f"${{Name}}_{name}"),
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "key", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
            **indexes,
            **expiry,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY},
        },
    }


def _scores_table() -> Resource:
    index = {
        "IndexName": "flagged",
        "KeySchema": [
            {"AttributeName": "flagged_day", "KeyType": "HASH"},
            {"AttributeName": "fraud_score", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL"},
    }
    attributes = {"key": "S", "flagged_day": "S", "fraud_score": "N"}
    return _table(
        "scores",
        "expires_at",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes.items()],
        GlobalSecondaryIndexes=Noted(
            "Only scores above LOW have a flagged_day: an index of all would write a whole day to one partition.",
            [index],
        ),
    )
