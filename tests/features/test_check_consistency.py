"""Consistency of served and recomputed features: every difference is reported, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.catalog.features import NAMES
from tests.running import run_stage

SCHEMA = {"transaction_id": pl.String, **dict.fromkeys(NAMES, pl.Float32)}


def features(rows: int, **changes: Any) -> pl.DataFrame:
    values = [{"transaction_id": f"t{number}"} | dict.fromkeys(NAMES, float(number)) for number in range(rows)]
    values[0]["velocity_1h"] = None  # null is a value too
    return pl.DataFrame(values, schema=SCHEMA).with_columns(**changes)


def check(folder: Path, served: pl.DataFrame, recomputed: pl.DataFrame, **texts: Any) -> dict[str, Any]:
    for name, table in {"served": served, "features": recomputed}.items():
        (folder / name).mkdir(exist_ok=True)
        table.write_parquet(folder / name / "part-0.parquet")
    inputs = {name: folder / name for name in ("served", "features")}
    return run_stage("check-consistency", inputs, {"consistency": folder / "out"}, as_of="2026-02-01", **texts)


def test_equal_features_are_consistent_in_any_order(tmp_path: Path):
    summary = check(tmp_path, features(20).reverse(), features(20))
    assert summary["exit_code"] == 0
    assert {row["equal"] for row in summary["features"]} == {20}


def test_one_wrong_bit_is_reported_with_feature_and_difference(tmp_path: Path):
    changed = pl.when(transaction_id="t7").then(7.0000005).otherwise("spend_7d").cast(pl.Float32)
    summary = check(tmp_path, features(20, spend_7d=changed), features(20))
    assert summary["exit_code"] == 3
    assert summary["inconsistent"] == ["spend_7d"]
    row = next(row for row in summary["features"] if row["feature"] == "spend_7d")
    assert (row["equal"], row["different"]) == (19, 1)
    assert row["largest_difference"] == pytest.approx(4.8e-7, rel=0.1)


def test_null_served_as_a_number_is_a_difference(tmp_path: Path):
    summary = check(tmp_path, features(20, velocity_1h=pl.col("velocity_1h").fill_null(0)), features(20))
    assert summary["inconsistent"] == ["velocity_1h"]


def test_max_different_allows_a_share_of_differences(tmp_path: Path):
    different = features(20, amount=pl.when(transaction_id="t7").then(9.0).otherwise("amount").cast(pl.Float32))
    assert check(tmp_path, different, features(20), max_different=0.05)["exit_code"] == 0


@pytest.mark.parametrize(("served", "recomputed", "reason"), [(19, 20, "1 missing"), (20, 19, "1 not expected")])
def test_transaction_on_one_side_only_is_reported(tmp_path: Path, served: int, recomputed: int, reason: str):
    summary = check(tmp_path, features(served), features(recomputed))
    assert summary["exit_code"] == 3
    assert reason in summary["exit_message"]


def test_repeated_transaction_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="channel 'served': a transaction_id occurs more than once"):
        check(tmp_path, pl.concat([features(3), features(1)]), features(3))
