"""The Spark engine for the laws: it computes many worlds in one job, which takes as long as one world alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.features import NAMES
from fraudline.features.spark_engine import compute, counts_of, frauds_of

from .conftest import DELAY, Engine, Row, labels_of, transactions_of

_KEYS = ("transaction_id", "customer_id", "merchant", "merchant_category")


class SparkEngine:
    """An engine that answers from prepared results; a world without one costs a job."""

    def __init__(self, session: Any, folders: pytest.TempPathFactory, rehearsal: Engine) -> None:
        self._session, self._folders, self._rehearsal = session, folders, rehearsal
        self._answers: dict[str, pl.DataFrame] = {}

    def __call__(self, rows: list[Row]) -> pl.DataFrame:
        if repr(rows) not in self._answers:
            self._answer([rows])
        return self._answers[repr(rows)]

    def prepare(self, law: Callable[..., None]) -> None:
        """Answer all worlds of a law. Hypothesis is derandomized here, so a rehearsal collects the same worlds."""
        worlds: dict[str, list[Row]] = {}

        def rehearse(rows: list[Row]) -> pl.DataFrame:
            worlds[repr(rows)] = rows
            return self._rehearsal(rows)

        law(engine=rehearse)
        self._answer(list(worlds.values()))

    def _answer(self, worlds: Sequence[list[Row]]) -> None:
        rows = [_in_world(number, row) for number, world in enumerate(worlds) for row in world]
        features = self._compute(rows).with_columns(pl.col("transaction_id").str.split("/"))
        by_world = features.with_columns(
            pl.col("transaction_id").list.first().cast(pl.Int64).alias("world"), pl.col("transaction_id").list.last()
        ).sort("world", "transaction_id")
        answers = by_world.partition_by("world", include_key=False)
        self._answers |= {repr(world): answer for world, answer in zip(worlds, answers, strict=True)}

    def _compute(self, rows: list[Row]) -> pl.DataFrame:
        folder = self._folders.mktemp("worlds")
        transactions, labels = transactions_of(rows), labels_of(rows).select("transaction_id", "is_fraud", "known_day")
        transactions.join(labels, on="transaction_id", how="left").write_parquet(folder / "dataset.parquet")
        dataset = self._session.read.parquet(str(folder / "dataset.parquet"))
        features = compute(dataset, counts_of(dataset), frauds_of(dataset), DELAY)
        features.select(*NAMES, "transaction_id").write.parquet(str(folder / "features"))
        return pl.read_parquet(folder / "features/*.parquet")


def _in_world(number: int, row: Row) -> Row:
    """Return a row whose keys occur in no other world."""
    return row | {key: row[key] and f"{number}/{row[key]}" for key in _KEYS}
