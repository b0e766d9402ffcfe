"""Read feature tables as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.contract import ContractFile
from fraudline.catalog.errors import InputError
from fraudline.catalog.schema import FEATURE_KEYS, Schema
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import read_contract

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureTable:
    """Labeled rows for training or evaluation.

    Attributes:
        values: rows x features, NaN where missing.
        labels: 1 for fraud, else 0.
        weights: the number of rows that each row stands for; above 1 if sampling left out similar rows.
        keys: the columns FEATURE_KEYS.
        contract: the content of contract.json.
    """

    values: Matrix
    labels: NDArray[np.int8]
    weights: NDArray[np.float32]
    keys: pl.DataFrame
    contract: ContractFile


def read_features(
    channels: Channels, name: str, features: Sequence[str], others: Schema = FEATURE_KEYS
) -> tuple[pl.DataFrame, Matrix]:
    """Read a feature table.

    Args:
        channels: the stage's channels.
        name: the name of the input.
        features: the names of the features, in the order of the matrix.
        others: the other columns to read.

    Returns:
        The other columns, and the features as rows x features, NaN where null.
    """
    table = channels.read(name, {**others, **dict.fromkeys(features, pl.Float32)})
    # In row-major order, which XGBoost reads without a copy.
    return table.select(*others), table.select(features).to_numpy().astype(np.float32, order="C", copy=False)


def read_labeled_features(channels: Channels, name: str) -> FeatureTable:
    """Read a labeled feature table and its contract.

    Raises:
        InputError: the table has no rows.
    """
    contract = read_contract(channels, name)
    others = {**FEATURE_KEYS, "is_fraud": pl.Int8, "weight": pl.Float32}
    table, values = read_features(channels, name, contract["features"], others)
    if not table.height:
        raise InputError(f"channel '{name}': no rows; check the summary of the stage that wrote it")
    return FeatureTable(
        values,
        table.get_column("is_fraud").to_numpy(),
        table.get_column("weight").to_numpy(),
        table.select(*FEATURE_KEYS),
        contract,
    )
