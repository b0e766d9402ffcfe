"""What both extractions leave of broken rows: the rows with their reasons, and the counts."""

from __future__ import annotations

import polars as pl

from fraudline.channel import Channels
from fraudline.etl.labels import Labels
from fraudline.etl.rules import Judged
from fraudline.schema import REJECTED
from fraudline.stage import Summary


def write_rejected(channels: Channels, judged: Judged, labels: Labels) -> None:
    """Write ``rejected`` (schema REJECTED)."""
    broken = {"raw": judged.rejected, "labels": labels.rejected}
    named = [rows.with_columns(pl.lit(channel).alias("channel")) for channel, rows in broken.items()]
    empty = pl.DataFrame(schema=dict(REJECTED))
    channels.write("rejected", pl.concat([empty, *named], how="diagonal").select(*REJECTED))


def summarise_rejected(judged: Judged, labels: Labels) -> Summary:
    """Broken rows by reason, and the copies that were collapsed."""
    return {"rejected": judged.reasons, "rejected_labels": labels.reasons, "copies_collapsed": judged.copies}
