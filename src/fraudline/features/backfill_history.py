"""Rebuilds the history before a day from raw data: after a gap, or after days were delivered anew."""

from __future__ import annotations

import polars as pl

from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stage import Summary
from fraudline.features.history import events_of, known_of, tail
from fraudline.runtime.channels import Channels


def run(channels: Channels, run: Run, label_delay_days: int) -> Summary:
    """Publish the ``history`` before as_of that training or the days before would have left."""
    parts = channels.parts("dataset", DATASET)
    events = pl.concat(tail(events_of(part.collect()), run.as_of) for part in parts)
    history = known_of(pl.concat(parts)).with_events(events)
    manifest = history.publish(channels, run.as_of, label_delay_days, run.execution)
    return {"record_count": events.height, "history": manifest}
