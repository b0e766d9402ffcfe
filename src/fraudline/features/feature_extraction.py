"""Compute the features of one day from the history before it, and publish the next day's history."""

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

_LISTED = 20  # number of transactions whose features the summary shows


def run(channels: Channels, run: Run, label_delay_days: int) -> Summary:
    """Write the day's ``features``, and publish the ``history`` before as_of unless a DynamoDB table is the input."""
    day = run.day
    transactions = channels.read("transactions", TRANSACTIONS)
    location = channels.location("history")
    from_table = dynamodb.is_uri(location)
    if from_table:
        table = HistoryTable(location)
        table.check(day, label_delay_days)
        # The table returns only the past that this day's rows can see, so there is no whole history to publish.
        past = current = table.read(transactions).before(day)
    else:
        past = read_history(channels, day, label_delay_days)
        current = past.extend(transactions, channels.read("labels", LABELS))
    features = compute(transactions, past.events, current.entity_days(label_delay_days, day, day))
    keyed = with_keys(transactions, features)
    channels.write("features", keyed)
    write_contract(channels, "features", day, run.as_of)
    listed = zip(keyed.get_column("transaction_id").head(_LISTED), features.head(_LISTED).iter_rows(), strict=True)
    return {
        "features": [{"transaction_id": id_, "features": values} for id_, values in listed],
        "feature_names": list(NAMES),
        "record_count": keyed.height,
        "history": None if from_table else current.publish(channels, run.as_of, label_delay_days, run.execution),
    }
