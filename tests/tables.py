"""DynamoDB tables as the stack makes them."""

from __future__ import annotations

import boto3

from fraudline.runtime import dynamodb


def make(name: str) -> str:
    """A table with the text key ``key``; its place."""
    boto3.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return f"{dynamodb.SCHEME}{name}"
