"""Write and count rejected rows, for both extractions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import REJECTED
from fraudline.etl.rules import UNREADABLE_FILE
from fraudline.runtime.channels import Channels


def sink_rejected(channels: Channels, rows: pl.LazyFrame, channel: str, part: int = 0) -> pl.LazyFrame:
    """Return a lazy frame that writes broken rows into ``rejected`` (schema REJECTED) when collected."""
    names = rows.collect_schema()
    # Rejected transactions and labels share a schema, so that one table holds both; missing columns are null.
    columns = {name: pl.col(name) if name in names else pl.lit(None) for name in REJECTED}
    columns["channel"] = pl.lit(channel)
    table = rows.select(column.cast(REJECTED[name]).alias(name) for name, column in columns.items())
    path = channels.output("rejected") / f"{channel}-{part}.parquet"
    return table.sink_parquet(path, compression="zstd", lazy=True)


class Rejected(NamedTuple):
    """The rejected rows of a channel.

    Attributes:
        reasons: the number of rows by reason; a row may have several reasons.
        share: the share of the channel's rows that was rejected.
    """

    reasons: dict[str, int]
    share: float


def count_rejected(channels: Channels, channel: str, rows: int, max_rejected: float) -> Rejected:
    """Count the rejected rows that were written for a channel.

    Args:
        channels: the channels of the stage that wrote them.
        channel: the input that they came from.
        rows: the number of rows in the input.
        max_rejected: the largest share of rows that may be rejected.

    Raises:
        InputError: the share of rejected rows is larger than ``max_rejected``.
    """
    written = pl.scan_parquet(channels.output("rejected") / f"{channel}-*.parquet").select("reasons").collect()
    counts = written.get_column("reasons").explode(empty_as_null=False).value_counts()
    return check_rejected(channel, dict(counts.iter_rows()), written.height, rows, max_rejected)


def check_rejected(channel: str, counts: Mapping[str, int], broken: int, rows: int, max_rejected: float) -> Rejected:
    """Return the counts by reason, sorted by reason, and the share of rejected rows.

    A file that can't be read is counted, but not toward the limit: it must not stop the stage.

    Raises:
        InputError: the share is larger than ``max_rejected``, or no file can be read.
    """
    reasons = dict(sorted(counts.items()))
    files = reasons.get(UNREADABLE_FILE, 0)
    if files and files == rows:
        raise InputError(f"channel '{channel}': none of {files} files can be read; the log has the reasons")
    if broken - files > max_rejected * (rows - files):
        listed = ", ".join(f"{name} {count}" for name, count in reasons.items())
        raise InputError(
            f"channel '{channel}': {broken} of {rows} rows are broken ({listed}), more than the "
            f"{max_rejected:.1%} allowed; fix the delivery; to see the broken rows: with --max-rejected 1 a run "
            "succeeds and writes each of them to 'rejected'"
        )
    return Rejected(reasons, broken / max(rows, 1))
