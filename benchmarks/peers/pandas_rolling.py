"""pandas: compute features of a whole dataset with groupby.rolling and merges of entity days."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DELAY, DAY = 7, 86_400
COORDINATES, HOME = ["latitude", "longitude"], ["customer_latitude", "customer_longitude"]


def main(dataset: str, out: str) -> None:
    """Write ``part.parquet`` below ``out``: transaction_id and the features."""
    rows = pd.concat(pd.read_parquet(path, partitioning=None) for path in sorted(Path(dataset).rglob("*.parquet")))
    rows = rows.sort_values(["customer_id", "timestamp"], kind="stable", ignore_index=True)
    # The definitions are in whole seconds.
    rows["time"] = rows["timestamp"].dt.floor("s").astype("datetime64[s, UTC]")
    rows["second"] = rows["time"].astype("int64")
    rows["day"] = rows["second"] // DAY
    features = pd.DataFrame({"transaction_id": rows["transaction_id"]})
    _customer_windows(rows, features)
    for entity, prefix in (("merchant", "merchant"), ("merchant_category", "category")):
        _entity_days(rows, features, entity, prefix)
    hour = rows["second"] % DAY // 3600
    features["amount"], features["hour_of_day"] = rows["cents"] / 100, hour
    features["is_weekend"], features["is_night"] = (rows["day"] + 3) % 7 >= 5, hour < 6
    features["distance_from_home"] = _haversine(*_floats(rows, [*HOME, *COORDINATES]))
    _previous(rows, features)
    numbers = features.columns.drop("transaction_id")
    features[numbers] = features[numbers].astype("float32").replace([np.inf, -np.inf], np.nan)
    Path(out).mkdir(parents=True, exist_ok=True)
    features.to_parquet(Path(out, "part.parquet"), index=False)


def _customer_windows(rows: pd.DataFrame, features: pd.DataFrame) -> None:
    cents = rows["cents"].astype("float64")
    indexed = pd.DataFrame({"customer": rows["customer_id"], "cents": cents, "squares": cents * cents}).set_index(
        rows["time"]
    )

    def rolled(window: str, column: str = "cents") -> Any:
        # Closed on the left: [t - window, t), without the row itself and its same-second peers.
        return indexed.groupby("customer", sort=False)[column].rolling(window, closed="left", min_periods=0)

    count = {window: rolled(window).count().to_numpy() for window in ("1h", "1D", "7D", "30D")}
    total = {window: rolled(window).sum().to_numpy() for window in ("7D", "30D")}
    squares = rolled("30D", "squares").sum().to_numpy()
    largest = {window: rolled(window).max().to_numpy() for window in ("7D", "30D")}
    n, s = count["30D"], total["30D"]
    mean_square = n * squares
    variance = mean_square - s * s
    spread = np.where((n > 1) & (variance > 1e-12 * mean_square), variance, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        features["amount_zscore"] = (n * cents - s) / np.sqrt(spread)
        features["amount_ratio_30d"] = cents * n / s
        features["amount_max_ratio_30d"] = cents / largest["30D"]
        features["largest_ratio_7d"] = largest["7D"] * n / s
        features["amount_ratio_7d"] = cents * count["7D"] / total["7D"]
    features["velocity_1h"], features["velocity_24h"] = count["1h"], count["1D"]
    features["velocity_7d"], features["spend_7d"] = count["7D"], total["7D"] / 100
    pairs = rows.groupby(["customer_id", "merchant"], sort=False)["second"]
    # The latest earlier second at this merchant; same-second peers all get the one of the first of them.
    previous = pairs.shift()
    previous = previous.mask(previous == rows["second"])
    previous = previous.groupby([rows["customer_id"], rows["merchant"]], sort=False).ffill()
    features["first_at_merchant"] = ~(rows["second"] - previous <= 30 * DAY)


def _previous(rows: pd.DataFrame, features: pd.DataFrame) -> None:
    """Add time, distance and speed since the previous transaction; of same-second peers the north-easternmost."""
    last = rows.sort_values(["customer_id", "second", *COORDINATES], na_position="last")
    last = last.drop_duplicates(["customer_id", "second"], keep="last")[["customer_id", "second", *COORDINATES]]
    last = last.sort_values("second")
    current = rows[["customer_id", "second", *COORDINATES]].reset_index().sort_values("second")
    last["previous"] = last["second"]
    merged = pd.merge_asof(
        current, last, on="second", by="customer_id", allow_exact_matches=False, tolerance=30 * DAY,
        suffixes=("", "_previous"),
    ).set_index("index").sort_index()  # fmt: skip
    since = merged["second"] - merged["previous"]
    distance = _haversine(*_floats(merged, COORDINATES), *_floats(merged, [f"{axis}_previous" for axis in COORDINATES]))
    features["seconds_since_previous"], features["distance_from_previous"] = since, distance
    features["speed_from_previous"] = distance / (since / 3600)


def _entity_days(rows: pd.DataFrame, features: pd.DataFrame, entity: str, prefix: str) -> None:
    counts = rows.groupby([entity, "day"]).size().rename("n").reset_index()
    counts["time"] = pd.to_datetime(counts["day"], unit="D")
    days = counts[[entity, "day"]].copy()
    by_day = counts.set_index("time").groupby(entity)["n"]
    # A window that ends DELAY days ago is a longer window minus the days within the delay.
    within_delay = by_day.rolling(f"{DELAY}D", closed="left", min_periods=0).sum().to_numpy()
    for window in (7, 30):
        longer = by_day.rolling(f"{DELAY + window}D", closed="left", min_periods=0).sum().to_numpy()
        days[f"n{window}"] = longer - within_delay
    frauds = rows.loc[rows["is_fraud"] == 1, [entity, "day", "known_day"]].dropna()
    visible = days[[entity, "day"]].merge(frauds.rename(columns={"day": "fraud_day"}), on=entity)
    age = visible["day"] - DELAY - visible["fraud_day"]
    visible = visible[(age > 0) & (age <= 30) & (visible["known_day"] < visible["day"])]
    recent = visible[visible["day"] - DELAY - visible["fraud_day"] <= 7].groupby([entity, "day"]).size().rename("f7")
    counted = visible.groupby([entity, "day"])["fraud_day"].agg(f30="size", latest="max", earliest="min")
    days = days.merge(counted.join(recent).reset_index(), on=[entity, "day"], how="left")
    days[["f7", "f30"]] = days[["f7", "f30"]].fillna(0)
    of_rows = rows[[entity, "day"]].merge(days, on=[entity, "day"], how="left")
    risk = {window: (of_rows[f"f{window}"] + 0.01 * 20.0) / (of_rows[f"n{window}"] + 20.0) for window in (7, 30)}
    if prefix == "category":
        features["category_risk_score"] = risk[30]
        return
    features["merchant_risk_score"], features["merchant_risk_7d"] = risk[30], risk[7]
    features["merchant_frauds_30d"], features["merchant_volume_30d"] = of_rows["f30"], of_rows["n30"]
    features["merchant_fraud_recency"] = of_rows["day"] - of_rows["latest"]
    features["merchant_fraud_run"] = of_rows["latest"] - of_rows["earliest"]


def _floats(table: pd.DataFrame, names: list[str]) -> list[Any]:
    return [table[name].astype("float64") for name in names]


def _haversine(latitude: Any, longitude: Any, to_latitude: Any, to_longitude: Any) -> Any:
    north, east = np.radians(to_latitude - latitude) / 2, np.radians(to_longitude - longitude) / 2
    cosines = np.cos(np.radians(latitude)) * np.cos(np.radians(to_latitude))
    chord = np.sin(north) ** 2 + cosines * np.sin(east) ** 2
    return 2 * 6371.0088 * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))


if __name__ == "__main__":
    main(*sys.argv[1:])
