"""The few things that are done with DynamoDB tables, through boto3, which honours AWS_ENDPOINT_URL.

An item is in the service's own notation, such as ``{"key": {"S": "a"}}``: boto3's typed one costs more than half of
the time of a load. Every table here has one partition key, the text ``key``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import islice
from typing import Any

from fraudline.catalog.errors import TemporaryError

Item = dict[str, Any]

SCHEME = "dynamodb://"
WRITTEN_AT_ONCE, READ_AT_ONCE = 25, 100  # the service's own limits
_SIDE_BY_SIDE = 8
_TRIES, _LONGEST_WAIT = 12, 5.0


def is_uri(location: str) -> bool:
    """Whether a location is a dynamodb:// table."""
    return location.startswith(SCHEME)


def put(table: str, items: Iterable[Item]) -> int:
    """Write items, whatever is there; returns how many."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        return sum(threads.map(partial(_put, table), _batches(items, WRITTEN_AT_ONCE)))


def get(table: str, keys: Iterable[str]) -> Iterator[Item]:
    """The items of some keys, as they are now, in no order; those that are not there are passed over."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
        for items in threads.map(partial(_get, table), _batches(keys, READ_AT_ONCE)):
            yield from items


def put_if(table: str, item: Item, condition: str, values: Item) -> bool:
    """Write an item where a condition holds for what is there under its key; False where it does not.

    Args:
        table: the table's name.
        item: to be written.
        condition: in the service's own language, ``#key`` for the key.
        values: what the condition names, in the service's notation.
    """
    return _conditionally(_client().put_item, TableName=table, Item=item, **_condition(condition, values))


def delete_if(table: str, key: str, condition: str, values: Item) -> bool:
    """Delete an item where a condition, as of ``put_if``, holds; False where it does not."""
    deleted = {"TableName": table, "Key": {"key": {"S": key}}}
    return _conditionally(_client().delete_item, **deleted, **_condition(condition, values))


def put_if_version(table: str, item: Item, version: int) -> bool:
    """Write an item as the version after ``version``, 0 for none; False where another one is there by now."""
    condition = "attribute_not_exists(#key) OR version = :version"
    return put_if(table, {**item, "version": {"N": str(version + 1)}}, condition, {":version": {"N": str(version)}})


def _condition(condition: str, values: Item) -> dict[str, Any]:
    names = {"ExpressionAttributeNames": {"#key": "key"}} if "#key" in condition else {}  # one not used is refused
    return {"ConditionExpression": condition, "ExpressionAttributeValues": values, **names}


def _conditionally(call: Any, **request: Any) -> bool:
    try:
        call(**request)
    except _client().exceptions.ConditionalCheckFailedException:
        return False
    return True


def wait(attempt: int) -> None:
    """Sleep longer with each attempt, and never as long as others who wait for the same."""
    time.sleep(random.random() * min(_LONGEST_WAIT, 0.02 * 2**attempt))  # noqa: S311 - no secret


def _put(table: str, items: list[Item]) -> int:
    left = {table: [{"PutRequest": {"Item": item}} for item in items]}
    for attempt in range(_TRIES):
        left = _client().batch_write_item(RequestItems=left)["UnprocessedItems"]
        if not left:
            return len(items)
        wait(attempt)
    raise TemporaryError(f"table '{table}' took no more writes; run the stage again, or raise its capacity")


def _get(table: str, keys: list[str]) -> list[Item]:
    left = {table: {"Keys": [{"key": {"S": key}} for key in keys], "ConsistentRead": True}}
    items: list[Item] = []
    for attempt in range(_TRIES):
        answer = _client().batch_get_item(RequestItems=left)
        items += answer["Responses"].get(table, [])
        left = answer["UnprocessedKeys"]
        if not left:
            return items
        wait(attempt)
    raise TemporaryError(f"table '{table}' gave no more reads; run the stage again, or raise its capacity")


def _batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


@cache
def _client() -> Any:
    import boto3  # noqa: PLC0415 - 0.2 s that a run on folders need not pay
    from botocore.config import Config  # noqa: PLC0415

    # What is sent was made here, so boto3 need not check it against its model, which costs as much as sending it.
    return boto3.client("dynamodb", config=Config(parameter_validation=False, retries={"mode": "standard"}))
