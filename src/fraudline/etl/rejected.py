"""What both extractions leave of broken rows: the rows with their reasons, and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import REJECTED
from fraudline.runtime.channels import Channels


def sink_rejected(channels: Channels, rows: pl.LazyFrame, channel: str, part: int = 0) -> pl.LazyFrame:
    """Will write some broken rows into ``rejected`` (schema REJECTED) once collected."""
    known = rows.collect_schema()
    columns = {name: pl.col(name) if name in known else pl.lit(None) for name in REJECTED}
    columns["channel"] = pl.lit(channel)
    table = rows.select(column.cast(REJECTED[name]).alias(name) for name, column in columns.items())
    path = channels.output("rejected") / f"{channel}-{part}.parquet"
    return table.sink_parquet(path, compression="zstd", lazy=True)


class Rejected(NamedTuple):
    """A channel's broken rows: how many by reason, of which a row may have several, and their share of all rows."""

    reasons: dict[str, int]
    share: float


def count_rejected(channels: Channels, channel: str, rows: int, max_rejected: float) -> Rejected:
    """What was written of a channel's broken rows.

    Raises:
        InputError: they are too large a share of the channel's ``rows``.
    """
    written = pl.scan_parquet(channels.output("rejected") / f"{channel}-*.parquet").select("reasons").collect()
    counts = written.get_column("reasons").explode(empty_as_null=False).value_counts()
    return tolerated(channel, dict(counts.iter_rows()), written.height, rows, max_rejected)


def tolerated(channel: str, counts: Mapping[str, int], broken: int, rows: int, max_rejected: float) -> Rejected:
    """The counts by reason, in their order, where so many broken rows of a channel's are few enough.

    Raises:
        InputError: they are too large a share.
    """
    reasons = dict(sorted(counts.items()))
    if broken > max_rejected * rows:
        listed = ", ".join(f"{name} {count}" for name, count in reasons.items())
        raise InputError(
            f"channel '{channel}': {broken} of {rows} rows are broken ({listed}), more than the "
            f"{max_rejected:.1%} allowed; mend the delivery: with --max-rejected 1 a run succeeds and leaves each "
            "of them in 'rejected'"
        )
    return Rejected(reasons, broken / max(rows, 1))
