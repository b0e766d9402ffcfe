"""The layout of feature tables."""

from __future__ import annotations

import polars as pl

from fraudline.catalog.schema import FEATURE_KEYS


def with_keys(transactions: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Return a table with the keys of transactions, followed by their features."""
    return pl.concat([transactions.select(*FEATURE_KEYS), features], how="horizontal")
