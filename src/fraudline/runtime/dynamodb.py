"""Read and write many items of a DynamoDB table, or write and delete one item under a condition.

Items are in DynamoDB's own notation, such as ``{"key": {"S": "a"}}``, because boto3's conversion of types would take
more than half of the time of a load. Every table has one partition key, the string ``key``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

from fraudline.catalog.errors import TemporaryError
from fraudline.runtime import aws

Item = dict[str, Any]

SCHEME = "dynamodb://"
# DynamoDB's own limits on a batch.
WRITE_BATCH, READ_BATCH = 25, 100
_THREADS = 8
_ATTEMPTS, _LONGEST_WAIT = 12, 5.0


def is_uri(location: str) -> bool:
    """Return True for a dynamodb:// table."""
    return location.startswith(SCHEME)


def put(table: str, items: Iterable[Item]) -> int:
    """Write items, replacing those with the same keys; return their number."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return sum(threads.map(partial(_put, table), _batches(items, WRITE_BATCH)))


def get(table: str, keys: Iterable[str]) -> Iterator[Item]:
    """Yield the existing items among the keys, in any order, with strongly consistent reads."""
    with ThreadPoolExecutor(_THREADS) as threads:
        for items in threads.map(partial(_get, table), _batches(keys, READ_BATCH)):
            yield from items


def put_if(table: str, item: Item, condition: str, values: Item) -> bool:
    """Write an item if a condition holds for the existing item with its key.

    Args:
        table: the table's name.
        item: the item to write.
        condition: a DynamoDB condition expression, with ``#key`` for the key.
        values: the condition's values, in DynamoDB's notation.

    Returns:
        False if the condition does not hold.
    """
    return _conditionally(_client().put_item, TableName=table, Item=item, **_condition(condition, values))


def delete_if(table: str, key: str, condition: str, values: Item) -> bool:
    """Delete an item if a condition holds, otherwise return False; see ``put_if``."""
    request = {"TableName": table, "Key": {"key": {"S": key}}}
    return _conditionally(_client().delete_item, **request, **_condition(condition, values))


def put_if_version(table: str, item: Item, version: int) -> bool:
    """Write an item as the version after ``version`` (0 for a new item); return False if another writer was faster."""
    condition = "attribute_not_exists(#key) OR version = :version"
    return put_if(table, {**item, "version": {"N": str(version + 1)}}, condition, {":version": {"N": str(version)}})


def _condition(condition: str, values: Item) -> dict[str, Any]:
    request = {"ConditionExpression": condition, "ExpressionAttributeValues": values}
    if "#key" in condition:  # DynamoDB rejects unused names
        request["ExpressionAttributeNames"] = {"#key": "key"}
    return request


def _conditionally(call: Any, **request: Any) -> bool:
    try:
        call(**request)
    except _client().exceptions.ConditionalCheckFailedException:
        return False
    return True


def wait(attempt: int) -> None:
    """Sleep for a random time that grows with each attempt, so that concurrent writers do not collide again."""
    time.sleep(random.random() * min(_LONGEST_WAIT, 0.02 * 2**attempt))  # noqa: S311 - no secret


def _put(table: str, items: list[Item]) -> int:
    # DynamoDB may write only a part of a batch, and returns the rest.
    rest = {table: [{"PutRequest": {"Item": item}} for item in items]}
    for attempt in range(_ATTEMPTS):
        rest = _client().batch_write_item(RequestItems=rest)["UnprocessedItems"]
        if not rest:
            return len(items)
        wait(attempt)
    raise TemporaryError(f"table '{table}' accepts no more writes; run the stage again, or raise its capacity")


def _get(table: str, keys: list[str]) -> list[Item]:
    rest = {table: {"Keys": [{"key": {"S": key}} for key in keys], "ConsistentRead": True}}
    items: list[Item] = []
    for attempt in range(_ATTEMPTS):
        answer = _client().batch_get_item(RequestItems=rest)
        items += answer["Responses"].get(table, [])
        rest = answer["UnprocessedKeys"]
        if not rest:
            return items
        wait(attempt)
    raise TemporaryError(f"table '{table}' answers no more reads; run the stage again, or raise its capacity")


def _batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _client() -> Any:
    return aws.client("dynamodb")
