"""The daily line's second stage: the same features over history and the day, and the next history."""

from __future__ import annotations

from fraudline.catalog.features import NAMES
from fraudline.catalog.run import Run
from fraudline.catalog.schema import LABELS, TRANSACTIONS
from fraudline.catalog.stage import Summary
from fraudline.features.history import read_history
from fraudline.features.history_table import HistoryTable
from fraudline.features.numpy_engine import compute
from fraudline.features.tables import with_keys
from fraudline.runtime import dynamodb
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import write_contract


def run(channels: Channels, run: Run, label_delay_days: int) -> Summary:
    """Write the day's ``features`` and publish the ``history`` before as_of, unless it is read from a table."""
    day = run.day
    transactions = channels.read("transactions", TRANSACTIONS)
    if dynamodb.is_uri(place := channels.location("history")):
        history_table = HistoryTable(place)
        history_table.check(day, label_delay_days)
        past = known = history_table.read(transactions).before(day)
    else:
        past = read_history(channels, day, label_delay_days)
        known = past.extend(transactions, channels.read("labels", LABELS))
    features = compute(transactions, past.events, known.entity_days(label_delay_days, day, day))
    table = with_keys(transactions, features)
    channels.write("features", table)
    write_contract(channels, "features", day, run.as_of)
    first = zip(table.get_column("transaction_id").head(20), features.head(20).iter_rows(), strict=True)
    return {
        "features": [{"transaction_id": id_, "features": values} for id_, values in first],
        "feature_names": list(NAMES),
        "record_count": table.height,
        # A table gives what one day needs, and so no whole history to hand on.
        "history": None if past is known else known.publish(channels, run.as_of, label_delay_days, run.execution),
    }
