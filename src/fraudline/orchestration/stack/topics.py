"""Topics for people, and log groups."""

from __future__ import annotations

from fraudline.orchestration.stack.intrinsics import Resource, Resources, ref, sub
from fraudline.orchestration.stack.parameters import KEY
from fraudline.orchestration.stack.policies import OF_THIS_ACCOUNT, document, statement

TOPICS = ("alerts", "cases", "escalation", "operations")
# Step Functions and Pipes may write to these prefixes without a policy of the log group.
LOG_GROUPS = {
    "FunctionsLogs": "/${Name}/functions",
    "MachinesLogs": "/aws/vendedlogs/states/${Name}",
    "PipesLogs": "/aws/vendedlogs/pipes/${Name}",
}


def topics() -> Resources:
    """Return the topics; CloudWatch publishes alarms to one, which people may read by email."""
    operations = ref("OperationsTopic")
    alarms = statement(
        "Alarms", "sns:Publish", operations, OF_THIS_ACCOUNT, principal={"Service": "cloudwatch.amazonaws.com"}
    )
    return {
        **{f"{name.title()}Topic": _topic(name) for name in TOPICS},
        "OperationsByEmail": {
            "Type": "AWS::SNS::Subscription",
            "Condition": "HasEmail",
            "Properties": {"TopicArn": operations, "Protocol": "email", "Endpoint": ref("OperationsEmail")},
        },
        "OperationsTopicPolicy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {"Topics": [operations], "PolicyDocument": document(alarms)},
        },
    }


def _topic(name: str) -> Resource:
    return {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": sub(f"${{Name}}-{name}"), "KmsMasterKeyId": KEY}}


def logs() -> Resources:
    """Return the log groups."""
    return {
        name: {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": sub(group), "RetentionInDays": ref("LogRetentionDays"), "KmsKeyId": KEY},
        }
        for name, group in LOG_GROUPS.items()
    }
