"""DynamoDB tables with the key that the stack gives them."""

from __future__ import annotations

import boto3

from fraudline.runtime import dynamodb


def create(name: str) -> str:
    """Create a table with the string key ``key``, and return its URI."""
    boto3.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return f"{dynamodb.SCHEME}{name}"
