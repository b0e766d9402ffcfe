"""The history as items of a DynamoDB table, one an entity: what features of single transactions are computed from.

The published history is the truth; this is its projection, rebuilt from it at will. Three kinds of items hold a
whole history, keyed by contract, kind and name: a customer's last transactions, a merchant's and a category's days.
A fourth, ``live``, holds what a customer has done since: whoever serves features appends to it, and the loader leaves
it alone, so that neither has to wait for the other. What a published history holds is not taken from it again.
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
PUBLISHED = "published"  # the item that names the history that was loaded last
TOLD = ("before", "label_delay_days", "content")
# An item is deleted by its time to live once no window can see into it, some days after.
KEPT = CUSTOMER_TAIL + 5 * DAY
_TRIES = 20


class HistoryTable:
    """The items of one feature contract in a table."""

    def __init__(self, location: str) -> None:
        self._table = location.removeprefix(dynamodb.SCHEME)

    def publish(self, history: History, *, replace: bool) -> int:
        """Write a whole history; returns how many items it took, none where it is there already.

        Args:
            history: as it was read; its origin is its manifest.
            replace: write it in the place of a later one, or of the same day's with other content.

        Raises:
            InputError: the table holds one of those.
        """
        told = {name: str(history.origin[name]) for name in TOLD}
        there = self._published()
        if there == told:
            return 0
        if there and there["before"] >= told["before"] and not replace:
            raise InputError(
                f"table '{self._table}' holds the history before {there['before']} and this one is before "
                f"{told['before']} with other content; publish a later one, or give --replace true"
            )
        written = dynamodb.put(self._table, items_of(history, date.fromisoformat(told["before"])))
        # Last, so that a load that was killed is not taken for a whole one.
        attributes = {name: {"S": value} for name, value in told.items()}
        dynamodb.put(self._table, [{"key": {"S": _key(PUBLISHED)}, **attributes}])
        return written

    def check(self, day: date, delay: int) -> None:
        """Refuse a table that does not hold the history before a day, of this contract and label delay."""
        there = self._published() or {}
        for name, value in {"before": day.isoformat(), "label_delay_days": str(delay)}.items():
            if there.get(name) != value:
                raise InputError(
                    f"channel 'history': table '{self._table}' has {name} {there.get(name, 'unknown')} for feature "
                    f"contract {contract()}, expected {value}; run publish-history with the history "
                    f"before {day}"
                )

    def check_fresh(self, day: date, most: int) -> None:
        """Refuse a table whose history ends more than so many days before a day: newer labels would be missing."""
        before = (self._published() or {}).get("before")
        if before is None or (day - date.fromisoformat(before)).days > most:
            raise InputError(
                f"table '{self._table}' holds the history before {before or 'no day'} for feature contract "
                f"{contract()}, too old for {day}; run publish-history with the history before {day}"
            )

    def read(self, transactions: pl.DataFrame) -> History:
        """What the features of some transactions (schema TRANSACTIONS) can see, by strongly consistent reads."""
        customers = transactions.get_column("customer_id").unique()
        keys = [_key(kind, name) for kind in (CUSTOMER, LIVE) for name in customers]
        for entity in ENTITIES:
            keys += [_key(entity, name) for name in transactions.get_column(entity).drop_nulls().unique()]
        items = self._get(keys)
        tables: dict[str, Columns] = {name: {column: [] for column in schema} for name, schema in SCHEMAS.items()}
        for customer in customers:
            whole, live = items.get(_key(CUSTOMER, customer)), items.get(_key(LIVE, customer))
            _extend(tables["events"], _unpack(whole)["events"] if whole else {}, customer_id=customer)
            _extend(tables["events"], _since(whole, live), customer_id=customer)
        for key, item in items.items():
            _, kind, name = key.split("#", 2)
            if kind in ENTITIES:
                for table, columns in _unpack(item).items():
                    _extend(tables[table], columns, entity=kind, key=name)
        events, counts, frauds = (pl.DataFrame(tables[name], schema=dict(SCHEMAS[name])) for name in SCHEMAS)
        return History(events, counts, frauds)

    def append(self, transaction: pl.DataFrame) -> bool:
        """Let later transactions of the customer see this one (schema TRANSACTIONS); False where they do already.

        Whoever appends at the same time makes the other try again, so that neither is lost.
        """
        fresh = events_of(transaction).with_columns(transaction.get_column("transaction_id")).to_dict(as_series=False)
        customer, id_, second = (fresh[name][0] for name in ("customer_id", "transaction_id", "second"))
        keys = _key(CUSTOMER, customer), _key(LIVE, customer)
        for attempt in range(_TRIES):
            whole, live = map(self._get(keys).get, keys)
            columns: Columns = {name: [] for name in fresh if name != "customer_id"}
            _extend(columns, _since(whole, live))
            if second < _end(whole) or id_ in columns["transaction_id"]:
                return False
            _extend(columns, fresh)
            item = _item(keys[1], {"events": columns}, expires=second + KEPT)
            if dynamodb.put_if_version(self._table, item, int(live["version"]["N"]) if live else 0):
                return True
            dynamodb.wait(attempt)
        raise TemporaryError(f"table '{self._table}': an item changed {_TRIES} times while it was written; try again")

    def _get(self, keys: Iterable[str]) -> dict[str, Item]:
        return {item["key"]["S"]: item for item in dynamodb.get(self._table, keys)}

    def _published(self) -> dict[str, str] | None:
        item = self._get([_key(PUBLISHED)]).get(_key(PUBLISHED))
        return item and {name: item[name]["S"] for name in TOLD}


def items_of(history: History, before: date) -> Iterator[Item]:
    """A whole history as items, one a customer, merchant and category."""
    end = day_number(before) * DAY
    for customer, columns in _grouped(history.events, "customer_id").items():
        item = _item(_key(CUSTOMER, customer), {"events": columns}, end + KEPT)
        yield {**item, "end": {"N": str(end)}}
    for entity in ENTITIES:
        counts, frauds = (
            _grouped(table.filter(pl.col("entity") == entity).drop("entity"), "key")
            for table in (history.counts, history.frauds)
        )
        for name in counts.keys() | frauds.keys():  # a fraud may be older than what is counted
            tables = {"counts": counts.get(name, {}), "frauds": frauds.get(name, {})}
            yield _item(_key(entity, name), tables, end + ENTITY_DAYS * DAY)


def _grouped(table: pl.DataFrame, by: str) -> dict[str, Columns]:
    """The other columns of each group, by its name; rows in an order that their content fixes."""
    groups = table.sort(table.columns).group_by(by, maintain_order=True).agg(pl.all())
    return {row.pop(by): row for row in groups.iter_rows(named=True)}


def _extend(columns: Columns, fresh: Columns, **constants: str) -> None:
    """Append rows to columns; constants fill the columns that the rows lack."""
    size = len(next(iter(fresh.values()), []))
    for name in columns if size else ():
        columns[name] += fresh[name] if name in fresh else [constants[name]] * size


def _since(whole: Item | None, live: Item | None) -> Columns:
    """What a customer has done since the history that was published last, which holds all before its end."""
    columns: Columns = _unpack(live)["events"] if live else {}
    kept = [at for at, second in enumerate(columns.get("second", [])) if second >= _end(whole)]
    return {name: [values[at] for at in kept] for name, values in columns.items()}


def _end(whole: Item | None) -> int:
    return int(whole["end"]["N"]) if whole else 0


def _key(kind: str, name: str = "") -> str:
    return f"{contract()}#{kind}#{name}"


def _item(key: str, tables: Mapping[str, Columns], expires: int) -> Item:
    packed = zlib.compress(json.dumps(tables, separators=(",", ":")).encode())
    return {"key": {"S": key}, "packed": {"B": packed}, "expires": {"N": str(expires)}}


def _unpack(item: Item) -> dict[str, Columns]:
    tables: dict[str, Columns] = json.loads(zlib.decompress(item["packed"]["B"]))
    return tables
