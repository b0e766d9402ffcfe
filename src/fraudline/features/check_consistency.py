"""Holds features as they were served against the same features recomputed from raw data."""

from __future__ import annotations

from typing import Any

import polars as pl

from fraudline.catalog import features as definitions
from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.schema import Schema
from fraudline.catalog.stage import Summary
from fraudline.runtime.channels import Channels

INCONSISTENT = 3  # the exit code: done, and what was checked is not as it should be

_SCHEMA: Schema = {"transaction_id": pl.String, **dict.fromkeys(definitions.NAMES, pl.Float32)}


def run(channels: Channels, run: Run, max_different: float) -> Summary:
    """Write ``consistency``, one row a feature; the exit code tells a larger share of differences, or a row missing."""
    served, recomputed = channels.read("served", _SCHEMA), channels.read("features", _SCHEMA)
    for name, table in {"served": served, "features": recomputed}.items():
        if table.get_column("transaction_id").is_duplicated().any():
            raise InputError(f"channel '{name}': a transaction_id stands twice; give each transaction's features once")
    both = recomputed.join(served, on="transaction_id", suffix="_served")
    missing = recomputed.height - both.height
    consistency = pl.DataFrame([_compared(both, name, missing) for name in definitions.NAMES])
    channels.write("consistency", consistency)
    worst = consistency.filter(pl.col("different") > max_different * pl.col("compared")).get_column("feature").to_list()
    told = f"{both.height} transactions compared, {missing} missing, {served.height - both.height} not expected; "
    told += f"inconsistent: {', '.join(worst)}" if worst else "every feature consistent"
    return {
        "record_count": both.height,
        "missing": missing,
        "not_expected": served.height - both.height,
        "inconsistent": worst,
        "features": consistency.to_dicts(),
        "exit_message": told,
        "exit_code": INCONSISTENT if worst or missing or served.height > both.height else 0,
    }


def _compared(both: pl.DataFrame, name: str, missing: int) -> dict[str, Any]:
    """How often a feature was equal, to the bit, and how far it was off where it was not."""
    ours, theirs = pl.col(name), pl.col(f"{name}_served")
    off = (theirs.cast(pl.Float64) - ours.cast(pl.Float64)).abs().max()
    equal, largest = both.select(ours.eq_missing(theirs).sum().alias("equal"), off.alias("largest")).row(0)
    return {
        "feature": name,
        "compared": both.height,
        "equal": equal,
        "different": both.height - equal,
        "missing": missing,
        "largest_difference": largest,
    }
