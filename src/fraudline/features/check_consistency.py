"""Compare served features with the same features recomputed from raw data."""

from __future__ import annotations

from typing import Any

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.exit_codes import ExitCode
from fraudline.catalog.features import NAMES
from fraudline.catalog.run import Run
from fraudline.catalog.schema import Schema
from fraudline.catalog.stage import Summary
from fraudline.runtime.channels import Channels

_SCHEMA: Schema = {"transaction_id": pl.String, **dict.fromkeys(NAMES, pl.Float32)}


def run(channels: Channels, run: Run, max_different: float) -> Summary:
    """Write ``consistency``, one row per feature.

    The exit code is INCONSISTENT if a feature differs in a larger share of rows than ``max_different``, or if a
    transaction is on one side only.
    """
    served, recomputed = channels.read("served", _SCHEMA), channels.read("features", _SCHEMA)
    for name, table in {"served": served, "features": recomputed}.items():
        if table.get_column("transaction_id").is_duplicated().any():
            raise InputError(
                f"channel '{name}': a transaction_id occurs more than once; provide each transaction's features once"
            )
    both = recomputed.join(served, on="transaction_id", suffix="_served")
    missing, unexpected = recomputed.height - both.height, served.height - both.height
    consistency = pl.DataFrame([_compared(both, name, missing) for name in NAMES])
    channels.write("consistency", consistency)
    worst = consistency.filter(pl.col("different") > max_different * pl.col("compared")).get_column("feature").to_list()
    verdict = f"inconsistent: {', '.join(worst)}" if worst else "every feature is consistent"
    return {
        "record_count": both.height,
        "missing": missing,
        "not_expected": unexpected,
        "inconsistent": worst,
        "features": consistency.to_dicts(),
        "exit_message": f"{both.height} transactions compared, {missing} missing, {unexpected} not expected; {verdict}",
        "exit_code": ExitCode.INCONSISTENT if worst or missing or unexpected else ExitCode.OK,
    }


def _compared(both: pl.DataFrame, name: str, missing: int) -> dict[str, Any]:
    """Count the rows in which a feature has identical bits, and measure the largest difference in the others."""
    recomputed, served = pl.col(name), pl.col(f"{name}_served")
    difference = (served.cast(pl.Float64) - recomputed.cast(pl.Float64)).abs().max()
    equal, largest = both.select(recomputed.eq_missing(served).sum().alias("equal"), difference.alias("largest")).row(0)
    return {
        "feature": name,
        "compared": both.height,
        "equal": equal,
        "different": both.height - equal,
        "missing": missing,
        "largest_difference": largest,
    }
