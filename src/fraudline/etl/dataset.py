"""The dataset as folders of customers, and the marks that sampling leaves on it."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl

# Whoever computes windows holds one folder at a time.
FOLDER_ROWS = 125_000

_FOLDER = "customers"


def folders_of(customers: pl.Series, rows: int) -> pl.DataFrame:
    """Each customer's folder: the CRC-32 of its UTF-8 name, modulo the number of folders that rows fill."""
    count = folder_count(rows)
    numbers = [crc32(customer.encode()) % count for customer in customers]
    return pl.DataFrame({"customer_id": customers, _FOLDER: pl.Series(numbers, dtype=pl.Int32)})


def folder_count(rows: int) -> int:
    """How many folders a dataset of so many raw rows has."""
    return max(1, ceil(rows / FOLDER_ROWS))


def sink_folders(dataset: pl.LazyFrame, folders: pl.DataFrame, place: Path, part: int) -> pl.LazyFrame:
    """Will write rows below their customers' folders, ``customers=NNN/part-….parquet``, once collected."""

    def path(file: Any) -> str:
        return f"{_FOLDER}={file.partition_keys.item():03d}/part-{part}-{file.index_in_partition}.parquet"

    rows = dataset.join(folders.lazy(), on="customer_id", how="left", maintain_order="left")
    target = pl.PartitionBy(place, key=_FOLDER, include_key=False, file_path_provider=path)
    return rows.sink_parquet(target, compression="zstd", mkdir=True, lazy=True)


def scan_dataset(place: Path) -> pl.LazyFrame:
    """All rows of a dataset that was written, in any order."""
    return pl.scan_parquet(sorted(place.rglob("*.parquet")), hive_partitioning=False, glob=False)


def weight(sample: float) -> pl.Expr:
    """How many rows a row stands for when this share of those not known as fraud is kept: 0 where it is not.

    By the CRC-32 of its UTF-8 id, so that every run and every engine keeps the same rows.
    """
    if sample == 1:
        return pl.lit(1.0, pl.Float32)
    kept = pl.col("transaction_id").map_batches(_crc32, pl.UInt32) < sample * 2**32
    fraud = pl.col("is_fraud").eq_missing(1)
    return pl.when(fraud).then(1.0).when(kept).then(1 / sample).otherwise(0.0).cast(pl.Float32)


def _crc32(ids: pl.Series) -> pl.Series:
    return pl.Series(ids.name, [crc32(id_.encode()) for id_ in ids], pl.UInt32)
