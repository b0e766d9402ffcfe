"""Write the dataset in folders of customers, and mark the rows that sampling keeps."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any
from zlib import crc32

import polars as pl

# The target size of a folder: feature-engineering holds the rows of one folder per processor in memory.
FOLDER_ROWS = 125_000

# The Hive partition key in the names of the folders, such as customers=007.
_KEY = "customers"


def assign_folders(customers: pl.Series, rows: int) -> pl.DataFrame:
    """Return each customer's folder: the CRC-32 of the UTF-8 id, modulo the number of folders.

    Args:
        customers: distinct customer ids.
        rows: the number of raw rows, which decides the number of folders.
    """
    count = folder_count(rows)
    numbers = [crc32(customer.encode()) % count for customer in customers]
    return pl.DataFrame({"customer_id": customers, _KEY: pl.Series(numbers, dtype=pl.Int32)})


def folder_count(rows: int) -> int:
    """Return the number of folders for a dataset of ``rows`` raw rows."""
    return max(1, ceil(rows / FOLDER_ROWS))


def sink_folders(dataset: pl.LazyFrame, folders: pl.DataFrame, root: Path, part: int) -> pl.LazyFrame:
    """Return a lazy frame that writes the rows to ``customers=NNN/part-….parquet`` below ``root`` when collected."""

    def path(file: Any) -> str:
        return f"{_KEY}={file.partition_keys.item():03d}/part-{part}-{file.index_in_partition}.parquet"

    # Rows keep their order, so that a rerun writes the same bytes.
    rows = dataset.join(folders.lazy(), on="customer_id", how="left", maintain_order="left")
    target = pl.PartitionBy(root, key=_KEY, include_key=False, file_path_provider=path)
    return rows.sink_parquet(target, compression="zstd", mkdir=True, lazy=True)


def scan_dataset(root: Path) -> pl.LazyFrame:
    """Return all rows of a written dataset, lazily, in no particular order."""
    return pl.scan_parquet(sorted(root.rglob("*.parquet")), hive_partitioning=False, glob=False)


def sampling_weight(sample: float) -> pl.Expr:
    """Return the number of rows that each row stands for in training: 0 for a row that is not sampled.

    Every known fraud has weight 1. Another row is sampled if the CRC-32 of its id, as a fraction of 2^32, is below
    ``sample``, so every run and every engine samples the same rows.

    Args:
        sample: the share of the other rows to sample, above 0 and up to 1.
    """
    if sample == 1:
        return pl.lit(1.0, pl.Float32)
    sampled = pl.col("transaction_id").map_batches(_crc32, pl.UInt32) < sample * 2**32
    fraud = pl.col("is_fraud").eq_missing(1)
    return pl.when(fraud).then(1.0).when(sampled).then(1 / sample).otherwise(0.0).cast(pl.Float32)


def _crc32(ids: pl.Series) -> pl.Series:
    return pl.Series(ids.name, [crc32(id_.encode()) for id_ in ids], pl.UInt32)
