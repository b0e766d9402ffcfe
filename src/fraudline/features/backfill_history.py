"""Rebuilds the history before a day from raw data: after a gap, or after days were delivered anew."""

from __future__ import annotations

from datetime import date

import polars as pl

from fraudline.channel import Channels
from fraudline.features.history import events_of, known_of, tail
from fraudline.schema import DATASET
from fraudline.stage import Summary


def run(
    channels: Channels,
    as_of: date,
    label_delay_days: int,
    execution: str,
    replace: bool,  # the host's, for the commit
) -> Summary:
    """Publish the ``history`` before as_of that training or the days before would have left."""
    parts = channels.parts("dataset", DATASET)
    events = pl.concat(tail(events_of(part.collect()), as_of) for part in parts)
    history = known_of(pl.concat(parts)).with_events(events)
    manifest = history.publish(channels, as_of, label_delay_days, execution)
    return {"record_count": events.height, "history": manifest}
