"""The feature tables as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.contract import ContractFile
from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import FEATURE_KEYS
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import read_contract


@dataclass(frozen=True)
class FeatureTable:
    """Rows x features (float32, NaN where null), their labels, keys, and contract.json.

    ``weights`` tells how many rows each stands for: more than itself where others like it were not sampled.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int8]
    weights: NDArray[np.float32]
    keys: pl.DataFrame
    contract: ContractFile


def read_features(channels: Channels, name: str) -> FeatureTable:
    """A labelled feature table with the contract beside it."""
    contract = read_contract(channels, name)
    names = contract["features"]
    schema = {**FEATURE_KEYS, **dict.fromkeys(names, pl.Float32), "is_fraud": pl.Int8, "weight": pl.Float32}
    table = channels.read(name, schema)
    if not table.height:
        raise InputError(f"channel '{name}': no rows; check the summary of the stage that wrote it")
    return FeatureTable(
        table.select(names).to_numpy().astype(np.float32, order="C", copy=False),
        table.get_column("is_fraud").to_numpy(),
        table.get_column("weight").to_numpy(),
        table.select(*FEATURE_KEYS),
        contract,
    )
