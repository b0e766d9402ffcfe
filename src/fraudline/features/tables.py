"""The feature tables that this room writes."""

from __future__ import annotations

import polars as pl

from fraudline.catalog.schema import FEATURE_KEYS


def with_keys(transactions: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Return the keys of transactions and behind them their features, row by row."""
    return pl.concat([transactions.select(*FEATURE_KEYS), features], how="horizontal")
