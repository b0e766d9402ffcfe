"""Events that start state machines."""

from __future__ import annotations

from typing import Any

from fraudline.catalog.workflow import HISTORY_BEFORE_AS_OF, MODEL_PACKAGES
from fraudline.orchestration.stack.intrinsics import Resource, Resources, Value, attribute, ref, sub
from fraudline.orchestration.stack.policies import OF_THIS_ACCOUNT, role, statement

# Written last: a history is complete once it exists.
_MANIFEST = f"{HISTORY_BEFORE_AS_OF.template.partition('/')[0]}/*/manifest.json"


def events() -> Resources:
    """Return the rules, and the role that starts their targets."""
    targets = [ref(f"{name}Machine") for name in ("Deployment", "PublishHistory", "Realtime")]
    return {
        "EventsRole": role(
            ["events"], "start", [statement("Start", "states:StartExecution", targets)], condition=OF_THIS_ACCOUNT
        ),
        "TransactionRule": _rule(
            "transaction",
            "Score each transaction event at once",
            {"source": [ref("TransactionSource")], "detail-type": ["Transaction"]},
            {"Id": "score", "Arn": ref("RealtimeMachine")},
            DeadLetterConfig={"Arn": attribute("RealtimeDeadLetters")},
        ),
        "HistoryPublishedRule": _rule(
            "history-published",
            "Load each published history into the table of the real-time path",
            {
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": [ref("ResultsBucket")]}, "object": {"key": [{"wildcard": _MANIFEST}]}},
            },
            {"Id": "load", "Arn": ref("PublishHistoryMachine")},
        ),
        "ModelApprovedRule": {
            **_rule(
                "model-approved",
                "Deploy each model package that a person approved",
                {
                    "source": ["aws.sagemaker"],
                    "detail-type": ["SageMaker Model Package State Change"],
                    "detail": {
                        "ModelPackageGroupName": [sub(f"${{BucketPrefix}}-{MODEL_PACKAGES}")],
                        "ModelApprovalStatus": ["Approved"],
                        # Events also come at creation, and when other fields are updated.
                        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
                    },
                },
                {"Id": "deploy", "Arn": ref("DeploymentMachine")},
            ),
            "Condition": "Pipelines",
        },
    }


def _rule(name: str, description: str, pattern: dict[str, Any], target: Value, **further: Value) -> Resource:
    return {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "Name": sub(f"${{Name}}-{name}"),
            "Description": description,
            "EventPattern": pattern,
            "Targets": [{**target, "RoleArn": attribute("EventsRole"), **further}],
        },
    }
