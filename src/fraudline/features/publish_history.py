"""Loads a history into a DynamoDB table, for whoever computes features of single transactions."""

from __future__ import annotations

from datetime import date

from fraudline import dynamodb
from fraudline.channel import Channels
from fraudline.errors import InputError
from fraudline.features.history import read_history
from fraudline.features.history_table import HistoryTable
from fraudline.stage import Summary


def run(channels: Channels, as_of: date, label_delay_days: int, table: str, replace: bool) -> Summary:
    """Write the ``history`` before as_of into ``table``; again, it is a no-op."""
    if not dynamodb.is_uri(table):
        raise InputError(f"--table: got '{table}', expected dynamodb://NAME, the table to load")
    history = read_history(channels, as_of, label_delay_days)
    written = HistoryTable(table).publish(history, replace=replace)
    return {"before": as_of.isoformat(), "table": table, "record_count": written}
