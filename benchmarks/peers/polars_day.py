"""polars: one day's features, with rolling windows over the 37 days of raw rows that they can see."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl

DELAY, DAY, MONTH = 7, 86_400, 30
PLACE, HOME = ("latitude", "longitude"), ("customer_latitude", "customer_longitude")
WINDOWS = {"1h": 3_600, "24h": DAY, "7d": 7 * DAY, "30d": MONTH * DAY}


def main(folder: str, day: str, out: str) -> None:
    """Read raw/ and labeled/ below a folder; write OUT/part.parquet: transaction_id and the features of the day."""
    today = date.fromisoformat(day)
    number = (today - date(1970, 1, 1)).days
    days = [today - timedelta(days=back) for back in range(MONTH + DELAY + 1)]
    files = [path for one in days for path in sorted(Path(folder, "raw", str(one)).glob("*.parquet"))]
    raw = pl.concat([pl.scan_parquet(path) for path in files]).collect()
    absent = [name for name in (*PLACE, *HOME, "merchant_category") if name not in raw.columns]
    rows = raw.with_columns(
        (pl.col("amount") * 100).round().cast(pl.Int64).alias("cents"),
        pl.col("timestamp").dt.epoch("s").alias("second"),
        pl.col("timestamp").dt.epoch("d").cast(pl.Int64).alias("day"),
        pl.lit(1).alias("one"),
        *(pl.lit(None, pl.String if name == "merchant_category" else pl.Float64).alias(name) for name in absent),
    )
    labels = pl.read_parquet(Path(folder, "labeled", "*.parquet")).select("transaction_id", "is_fraud")
    old = rows.filter(pl.col("day") < number - DELAY).join(labels, on="transaction_id", how="left")
    today_ = _customers(rows.filter(pl.col("day") >= number - MONTH), number)
    for entity in ("merchant", "merchant_category"):
        today_ = today_.join(_entity(old, entity, number), on=entity, how="left")
    Path(out).mkdir(parents=True, exist_ok=True)
    _features(today_, number).write_parquet(Path(out, "part.parquet"))


def _customers(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """The day's rows with what their customers did before; a window is closed on the left alone."""

    def rolled(kind: str, column: str, window: str) -> pl.Expr:
        of = pl.col(column).rolling_sum_by if kind == "sum" else pl.col(column).rolling_max_by
        seen = of("second", f"{WINDOWS[window]}i", closed="left")
        return seen.over("customer_id").alias(f"{column}_{kind}_{window}")

    wide = rows.sort("customer_id", "second", *PLACE, nulls_last=True).with_columns(
        (pl.col("cents") * pl.col("cents")).alias("squares"), pl.col("second").alias("at")
    )
    wide = wide.with_columns(
        *(rolled("sum", "one", window) for window in WINDOWS),
        *(rolled("sum", "cents", window) for window in ("7d", "30d")),
        *(rolled("max", "cents", window) for window in ("7d", "30d")),
        rolled("sum", "squares", "30d"),
        rolled("max", "at", "30d"),
        pl.col("one")
        .rolling_sum_by("second", f"{WINDOWS['30d']}i", closed="left")
        .over("customer_id", "merchant")
        .alias("at_merchant"),
    )
    last = wide.group_by("customer_id", "second", maintain_order=True).last()
    where = (pl.col(axis).alias(f"{axis}_was") for axis in PLACE)
    places = last.select("customer_id", pl.col("second").alias("at_max_30d"), *where)
    return wide.filter(pl.col("day") == number).join(places, on=["customer_id", "at_max_30d"], how="left")


def _entity(old: pl.DataFrame, entity: str, number: int) -> pl.DataFrame:
    """An entity's days of the month before the label delay."""
    fraud, recent = pl.col("is_fraud") == 1, pl.col("day") >= number - DELAY - 7
    return (
        old.filter(pl.col("day") >= number - DELAY - MONTH, pl.col(entity).is_not_null())
        .group_by(entity)
        .agg(
            pl.len().alias(f"{entity}_n30"),
            recent.sum().alias(f"{entity}_n7"),
            fraud.sum().alias(f"{entity}_f30"),
            (fraud & recent).sum().alias(f"{entity}_f7"),
            pl.col("day").filter(fraud).max().alias(f"{entity}_latest"),
            pl.col("day").filter(fraud).min().alias(f"{entity}_earliest"),
        )
    )


def _features(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    n, s = pl.col("one_sum_30d").cast(pl.Float64), pl.col("cents_sum_30d").cast(pl.Float64)
    cents, mean_square = pl.col("cents"), n * pl.col("squares_sum_30d")
    variance, hour = mean_square - s * s, pl.col("second") % DAY // 3600
    since = pl.col("second") - pl.col("at_max_30d")
    far = _haversine(*map(pl.col, (*PLACE, *(f"{axis}_was" for axis in PLACE))))

    def days(name: str, entity: str = "merchant") -> pl.Expr:
        value = pl.col(f"{entity}_{name}").fill_null(0)
        return pl.when(pl.col(entity).is_not_null()).then(value)

    def risk(window: int, entity: str = "merchant") -> pl.Expr:
        return (days(f"f{window}", entity) + 0.01 * 20.0) / (days(f"n{window}", entity) + 20.0)

    features = {
        "amount": cents / 100,
        "amount_zscore": pl.when((n > 1) & (variance > 1e-12 * mean_square)).then((n * cents - s) / variance.sqrt()),
        "amount_ratio_30d": cents * n / s,
        "amount_max_ratio_30d": cents / pl.col("cents_max_30d"),
        "largest_ratio_7d": pl.col("cents_max_7d") * n / s,
        "amount_ratio_7d": cents * pl.col("one_sum_7d") / pl.col("cents_sum_7d"),
        "velocity_1h": pl.col("one_sum_1h"),
        "velocity_24h": pl.col("one_sum_24h"),
        "velocity_7d": pl.col("one_sum_7d"),
        "spend_7d": pl.col("cents_sum_7d") / 100,
        "seconds_since_previous": since,
        "first_at_merchant": pl.col("at_merchant") == 0,
        "hour_of_day": hour,
        "is_weekend": pl.lit((number + 3) % 7 >= 5),
        "is_night": hour < 6,
        "merchant_risk_score": risk(30),
        "merchant_risk_7d": risk(7),
        "merchant_frauds_30d": days("f30"),
        "merchant_fraud_recency": number - pl.col("merchant_latest"),
        "merchant_fraud_run": pl.col("merchant_latest") - pl.col("merchant_earliest"),
        "merchant_volume_30d": days("n30"),
        "category_risk_score": risk(30, "merchant_category"),
        "distance_from_home": _haversine(*map(pl.col, (*HOME, *PLACE))),
        "distance_from_previous": far,
        "speed_from_previous": far / (since / 3600),
    }
    table = rows.select("transaction_id", **{name: value.cast(pl.Float32) for name, value in features.items()})
    return table.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in features)


def _haversine(latitude: pl.Expr, longitude: pl.Expr, to_latitude: pl.Expr, to_longitude: pl.Expr) -> pl.Expr:
    north, east = (to_latitude - latitude).radians() / 2, (to_longitude - longitude).radians() / 2
    cosines = latitude.radians().cos() * to_latitude.radians().cos()
    chord = north.sin().pow(2) + cosines * east.sin().pow(2)
    return 2 * 6371.0088 * chord.clip(upper_bound=1.0).sqrt().arcsin()


if __name__ == "__main__":
    main(*sys.argv[1:])
