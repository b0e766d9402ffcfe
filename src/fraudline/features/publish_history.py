"""Load a history into a DynamoDB table, for computing features of single transactions."""

from __future__ import annotations

from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.stage import Summary
from fraudline.features.history import read_history
from fraudline.features.history_table import HistoryTable
from fraudline.runtime import dynamodb
from fraudline.runtime.channels import Channels


def run(channels: Channels, run: Run, label_delay_days: int, table: str) -> Summary:
    """Write the ``history`` before as_of into ``table``; a rerun writes nothing."""
    if not dynamodb.is_uri(table):
        raise InputError(f"--table: got '{table}', expected dynamodb://NAME, the table to load")
    history = read_history(channels, run.as_of, label_delay_days)
    written = HistoryTable(table).publish(history, replace=run.replace)
    return {"before": run.as_of.isoformat(), "table": table, "record_count": written}
