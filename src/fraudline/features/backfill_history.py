"""Rebuild the history before a day from raw data, after a gap or after days were delivered again."""

from __future__ import annotations

import polars as pl

from fraudline.catalog.run import Run
from fraudline.catalog.schema import DATASET
from fraudline.catalog.stage import Summary
from fraudline.features.history import entity_history, events_of, tail
from fraudline.runtime.channels import Channels


def run(channels: Channels, run: Run, label_delay_days: int) -> Summary:
    """Publish the ``history`` before as_of, the same that a training or the daily runs would have published."""
    parts = channels.parts("dataset", DATASET)
    # Only one part is in memory at a time, and only its last days are kept.
    events = pl.concat(tail(events_of(part.collect()), run.as_of) for part in parts)
    history = entity_history(pl.concat(parts)).with_events(events)
    manifest = history.publish(channels, run.as_of, label_delay_days, run.execution)
    return {"record_count": events.height, "history": manifest}
