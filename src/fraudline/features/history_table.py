"""The history in a DynamoDB table, one item per entity, for computing features of single transactions.

The table is a projection of the published history and can be rebuilt from it at any time. Items of three kinds hold a
whole history, keyed by contract, kind and name: a customer's last transactions, a merchant's days, a category's days.
A fourth kind, ``live``, holds a customer's transactions since then. Only the service that computes features writes it,
and only the loader writes the others, so neither waits for the other. Live transactions from before the end of the
published history are ignored, because that history contains them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import polars as pl

from fraudline.catalog.contract import contract
from fraudline.catalog.days import DAY, day_number
from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.features import CUSTOMER_TAIL, ENTITIES, ENTITY_DAYS
from fraudline.features.history import SCHEMAS, History, events_of
from fraudline.runtime import dynamodb
from fraudline.runtime.dynamodb import Item

Columns = dict[str, list[Any]]

CUSTOMER, LIVE = "customer", "live"
PUBLISHED = "published"  # the item that identifies the history that was loaded last
IDENTITY = ("before", "label_delay_days", "content")  # the manifest keys that this item repeats
# Seconds after its latest possible event at which DynamoDB may delete a customer's item: no window sees it any more.
RETENTION = CUSTOMER_TAIL + 5 * DAY
_ATTEMPTS = 20


class HistoryTable:
    """The items of one feature contract in a table."""

    def __init__(self, location: str) -> None:
        self._table = location.removeprefix(dynamodb.SCHEME)

    def publish(self, history: History, *, replace: bool) -> int:
        """Write a whole history, and return the number of items written: none if the table holds it already.

        Args:
            history: a history from ``read_history``, whose origin is its own manifest.
            replace: write it even if the table holds a later history, or different content for the same day.

        Raises:
            InputError: the table holds one of those, and ``replace`` is False.
        """
        identity = {name: str(history.origin[name]) for name in IDENTITY}
        loaded = self._published()
        if loaded == identity:
            return 0
        if loaded and loaded["before"] >= identity["before"] and not replace:
            raise InputError(
                f"table '{self._table}' holds the history before {loaded['before']} and this one is before "
                f"{identity['before']} with other content; publish a later one, or give --replace true"
            )
        written = dynamodb.put(self._table, items_of(history, date.fromisoformat(identity["before"])))
        # Written last, so that an interrupted load does not look complete.
        attributes = {name: {"S": value} for name, value in identity.items()}
        dynamodb.put(self._table, [{"key": {"S": _key(PUBLISHED)}, **attributes}])
        return written

    def check(self, day: date, delay: int) -> None:
        """Raise InputError unless the table holds the history before ``day`` with this contract and label delay."""
        loaded = self._published() or {}
        for name, value in {"before": day.isoformat(), "label_delay_days": str(delay)}.items():
            if loaded.get(name) != value:
                raise InputError(
                    f"channel 'history': table '{self._table}' has {name} {loaded.get(name, 'unknown')} for feature "
                    f"contract {contract()}, expected {value}; run publish-history with the history "
                    f"before {day}"
                )

    def check_fresh(self, day: date, max_days: int) -> None:
        """Raise InputError if the history ends more than ``max_days`` before ``day``: newer labels would be missing."""
        before = (self._published() or {}).get("before")
        if before is None or (day - date.fromisoformat(before)).days > max_days:
            raise InputError(
                f"table '{self._table}' holds the history before {before or 'no day'} for feature contract "
                f"{contract()}, too old for {day}; run publish-history with the history before {day}"
            )

    def read(self, transactions: pl.DataFrame) -> History:
        """Read the past that features of transactions (schema TRANSACTIONS) can see, with strongly consistent reads."""
        customers = transactions.get_column("customer_id").unique()
        keys = [_key(kind, name) for kind in (CUSTOMER, LIVE) for name in customers]
        for entity in ENTITIES:
            keys += [_key(entity, name) for name in transactions.get_column(entity).drop_nulls().unique()]
        items = self._get(keys)
        tables: dict[str, Columns] = {name: {column: [] for column in schema} for name, schema in SCHEMAS.items()}
        for customer in customers:
            published, live = items.get(_key(CUSTOMER, customer)), items.get(_key(LIVE, customer))
            if published:
                _append(tables["events"], _unpack(published)["events"], customer_id=customer)
            _append(tables["events"], _live_events(published, live), customer_id=customer)
        for key, item in items.items():
            _, kind, name = key.split("#", 2)
            if kind in ENTITIES:
                for table, columns in _unpack(item).items():
                    _append(tables[table], columns, entity=kind, key=name)
        events, counts, frauds = (pl.DataFrame(tables[name], schema=dict(SCHEMAS[name])) for name in SCHEMAS)
        return History(events, counts, frauds)

    def append(self, transaction: pl.DataFrame) -> bool:
        """Add one transaction (schema TRANSACTIONS), so that later ones of its customer see it.

        If two writers append at the same time, one of them retries, so that neither transaction is lost.

        Returns:
            False if the table has it already.

        Raises:
            TemporaryError: other writers were faster at every attempt.
        """
        event = events_of(transaction).with_columns(transaction.get_column("transaction_id")).to_dict(as_series=False)
        customer, id_, second = (event[name][0] for name in ("customer_id", "transaction_id", "second"))
        customer_key, live_key = _key(CUSTOMER, customer), _key(LIVE, customer)
        for attempt in range(_ATTEMPTS):
            items = self._get([customer_key, live_key])
            published, live = items.get(customer_key), items.get(live_key)
            columns: Columns = {name: [] for name in event if name != "customer_id"}
            _append(columns, _live_events(published, live))
            if second < _end(published) or id_ in columns["transaction_id"]:
                return False
            _append(columns, event)
            item = _item(live_key, {"events": columns}, expires=second + RETENTION)
            if dynamodb.put_if_version(self._table, item, int(live["version"]["N"]) if live else 0):
                return True
            dynamodb.wait(attempt)
        raise TemporaryError(
            f"table '{self._table}': an item changed {_ATTEMPTS} times while it was written; try again"
        )

    def _get(self, keys: Iterable[str]) -> dict[str, Item]:
        return {item["key"]["S"]: item for item in dynamodb.get(self._table, keys)}

    def _published(self) -> dict[str, str] | None:
        item = self._get([_key(PUBLISHED)]).get(_key(PUBLISHED))
        return item and {name: item[name]["S"] for name in IDENTITY}


def items_of(history: History, before: date) -> Iterator[Item]:
    """Yield a whole history as items, one per customer, merchant and category."""
    end = day_number(before) * DAY
    for customer, columns in _grouped(history.events, "customer_id").items():
        item = _item(_key(CUSTOMER, customer), {"events": columns}, end + RETENTION)
        yield {**item, "end": {"N": str(end)}}
    for entity in ENTITIES:
        counts, frauds = (
            _grouped(table.filter(pl.col("entity") == entity).drop("entity"), "key")
            for table in (history.counts, history.frauds)
        )
        for name in counts.keys() | frauds.keys():  # an entity may have frauds but no counts: frauds go back further
            tables = {"counts": counts.get(name, {}), "frauds": frauds.get(name, {})}
            yield _item(_key(entity, name), tables, end + ENTITY_DAYS * DAY)


def _grouped(table: pl.DataFrame, by: str) -> dict[str, Columns]:
    """Return the other columns of each group, by the value of ``by``, with sorted rows."""
    groups = table.sort(table.columns).group_by(by, maintain_order=True).agg(pl.all())
    return {row.pop(by): row for row in groups.iter_rows(named=True)}


def _append(columns: Columns, rows: Columns, **constants: str) -> None:
    """Append rows to columns; constants fill columns that the rows do not have."""
    size = len(next(iter(rows.values()), []))
    if not size:
        return
    for name in columns:
        columns[name] += rows[name] if name in rows else [constants[name]] * size


def _live_events(published: Item | None, live: Item | None) -> Columns:
    """Return a customer's live events since the end of the published history."""
    columns: Columns = _unpack(live)["events"] if live else {}
    recent = [index for index, second in enumerate(columns.get("second", [])) if second >= _end(published)]
    return {name: [values[index] for index in recent] for name, values in columns.items()}


def _end(published: Item | None) -> int:
    """Return the second at which a customer's published history ends, or 0 if there is none."""
    return int(published["end"]["N"]) if published else 0


def _key(kind: str, name: str = "") -> str:
    return f"{contract()}#{kind}#{name}"


def _item(key: str, tables: Mapping[str, Columns], expires: int) -> Item:
    packed = zlib.compress(json.dumps(tables, separators=(",", ":")).encode())
    return {"key": {"S": key}, "packed": {"B": packed}, "expires": {"N": str(expires)}}


def _unpack(item: Item) -> dict[str, Columns]:
    tables: dict[str, Columns] = json.loads(zlib.decompress(item["packed"]["B"]))
    return tables
