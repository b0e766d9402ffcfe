"""The daily line's second stage: the same features over history and the day, and the next history."""

from __future__ import annotations

from datetime import date, timedelta

from fraudline import dynamodb
from fraudline.channel import Channels
from fraudline.features import definitions
from fraudline.features.history import read_history
from fraudline.features.history_table import HistoryTable
from fraudline.features.numpy_engine import compute
from fraudline.features.tables import with_keys, write_contract
from fraudline.schema import LABELS, TRANSACTIONS
from fraudline.stage import Summary


def run(
    channels: Channels,
    as_of: date,
    label_delay_days: int,
    execution: str,
    replace: bool,  # the host's, for the commit
) -> Summary:
    """Write the day's ``features`` and publish the ``history`` before as_of, unless it is read from a table."""
    day = as_of - timedelta(days=1)
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
    write_contract(channels, "features", {"first": day.isoformat(), "end": as_of.isoformat()})
    first = zip(table.get_column("transaction_id").head(20), features.head(20).iter_rows(), strict=True)
    return {
        "features": [{"transaction_id": id_, "features": values} for id_, values in first],
        "feature_names": list(definitions.NAMES),
        "record_count": table.height,
        # A table gives what one day needs, and so no whole history to hand on.
        "history": None if past is known else known.publish(channels, as_of, label_delay_days, execution),
    }
