"""The feature tables that the room writes: keys, the features, and the contract beside them."""

from __future__ import annotations

from typing import Any

import polars as pl

from fraudline.catalog import features as definitions
from fraudline.catalog.schema import FEATURE_KEYS
from fraudline.runtime.channels import Channels

CONTRACT_FILE = "contract.json"


def with_keys(transactions: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Features behind the keys of their transactions."""
    return pl.concat([transactions.select(*FEATURE_KEYS), features], how="horizontal")


def write_contract(channels: Channels, name: str, period: dict[str, str]) -> None:
    """Write ``contract.json`` beside a feature table: the definitions and their hash, the names in order, the days.

    Args:
        channels: where to.
        name: the output channel.
        period: ``first`` and ``end`` of the days [first, end) it covers.
    """
    contract: dict[str, Any] = {
        "contract": definitions.contract(),
        "definitions": definitions.described(),
        "features": definitions.NAMES,
        **period,
    }
    channels.write_json(name, CONTRACT_FILE, contract)
