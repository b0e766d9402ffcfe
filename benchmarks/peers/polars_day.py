"""polars: compute one day's features with rolling windows and as-of joins over 37 days of raw rows."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl

DELAY = 7  # days before a label counts
OPTIONAL = ("merchant_category", "latitude", "longitude")
CUSTOMER, SECOND = pl.col("customer_id"), pl.col("timestamp").dt.epoch("s")
DAY_NUMBER = pl.col("timestamp").dt.epoch("d")


def main(folder: str, raw: str, day: str, out: str) -> None:
    """Read the day below ``folder``, and earlier days below ``raw``; write ``part.parquet`` below ``out``."""
    features = compute(
        pl.scan_parquet(Path(folder, "transactions", "*.parquet")),
        pl.scan_parquet(Path(folder, "labels", "*.parquet")),
        read_raw(Path(raw), date.fromisoformat(day)),
        (date.fromisoformat(day) - date(1970, 1, 1)).days,
    )
    Path(out).mkdir(parents=True, exist_ok=True)
    features.collect().write_parquet(Path(out, "part.parquet"), compression="zstd", compression_level=1)


def read_raw(raw: Path, day: date) -> pl.LazyFrame:
    """Return the raw rows of the 37 days before a day, with cents."""
    days = [raw / str(day - timedelta(days=number)) / "*.parquet" for number in range(DELAY + 30, 0, -1)]
    rows = pl.concat([pl.scan_parquet(path) for path in days])
    missing = set(OPTIONAL) - set(rows.collect_schema())
    types = {name: pl.String if name == "merchant_category" else pl.Float64 for name in missing}
    return rows.with_columns(pl.lit(None, type_).alias(name) for name, type_ in types.items()).with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")),
        (pl.col("amount") * 100).round().cast(pl.Int64).alias("cents"),
    )


def compute(transactions: pl.LazyFrame, labels: pl.LazyFrame, raw: pl.LazyFrame, today: int) -> pl.LazyFrame:
    """Return transaction_id and the features of the day's transactions; ``today`` is a day number."""
    event_columns = ["customer_id", "timestamp", "cents", "merchant", "latitude", "longitude"]
    second = pl.col("timestamp").dt.truncate("1s")
    day = transactions.with_columns(second)
    month = raw.filter(DAY_NUMBER.ge(today - 30)).select(*event_columns).with_columns(second)
    past = month.join(day.select("customer_id"), on="customer_id", how="semi")
    past = past.with_columns(pl.lit(None, pl.String).alias("transaction_id"))
    events = pl.concat([past, day.select(*event_columns, "transaction_id")])
    events = events.sort("timestamp", "latitude", "longitude", nulls_last=True)
    rows = windows(events, today).join(day.drop(*event_columns), on="transaction_id")
    rows = (
        rows.sort("timestamp")
        .join_asof(
            events.select("customer_id", "timestamp", "latitude", "longitude", pl.col("timestamp").alias("previous")),
            on="timestamp",
            by="customer_id",
            allow_exact_matches=False,
            suffix="_previous",
            tolerance="30d",
            check_sortedness=False,
        )
        .join_asof(
            events.select("customer_id", "merchant", "timestamp", pl.lit(True).alias("known_merchant")),
            on="timestamp",
            by=["customer_id", "merchant"],
            allow_exact_matches=False,
            tolerance="30d",
            check_sortedness=False,
        )
    )
    merchants = entities(raw, labels, "merchant", today)
    categories = entities(raw, labels, "merchant_category", today)
    rows = rows.join(merchants, on="merchant", how="left")
    rows = rows.join(categories, on="merchant_category", how="left", suffix="_category")
    return rows.select(
        "transaction_id", *(expression.alias(name) for name, expression in features(today).items())
    ).with_columns(pl.exclude("transaction_id").cast(pl.Float32))


def windows(events: pl.LazyFrame, today: int) -> pl.LazyFrame:
    """Return the day's transactions with the aggregates of their customers' windows."""
    cents, one = pl.col("cents"), pl.lit(1).alias("one")
    sums = {"sum_30d": ("cents", "30d"), "squares_30d": ("square", "30d"), "sum_7d": ("cents", "7d")}
    counts = {f"count_{window}": ("one", window) for window in ("30d", "7d", "24h", "1h")}
    maxima = {"max_30d": ("cents", "30d"), "max_7d": ("cents", "7d")}
    rolled = [
        pl.col(of).rolling_sum_by("timestamp", window, closed="left").over("customer_id").alias(name)
        for name, (of, window) in (sums | counts).items()
    ] + [
        pl.col(of).rolling_max_by("timestamp", window, closed="left").over("customer_id").alias(name)
        for name, (of, window) in maxima.items()
    ]
    squared = events.with_columns((cents * cents).alias("square"), one)
    return squared.with_columns(rolled).filter(pl.col("transaction_id").is_not_null())


def entities(raw: pl.LazyFrame, labels: pl.LazyFrame, entity: str, today: int) -> pl.LazyFrame:
    """Return transactions and known frauds of each merchant or category, as of today."""
    mature = pl.col("day") < today - DELAY
    month, days = (pl.col("day") >= today - DELAY - window for window in (30, 7))
    counts = raw.select(entity, DAY_NUMBER.alias("day")).filter(mature & month).group_by(entity)
    frauds = labels.filter(mature & month, pl.col("is_fraud") == 1, pl.col("known_day") < today).group_by(entity)
    volumes = counts.agg(pl.len().alias("volume_30d"), days.sum().alias("volume_7d"))
    fraud_counts = frauds.agg(
        pl.len().alias("frauds_30d"),
        days.sum().alias("frauds_7d"),
        pl.col("day").max().alias("latest"),
        pl.col("day").min().alias("earliest"),
    )
    return volumes.join(fraud_counts, on=entity, how="full", coalesce=True)


def features(today: int) -> dict[str, pl.Expr]:
    """Return the expression of each feature, over rows with all joined columns."""
    cents, count, total = pl.col("cents"), pl.col("count_30d").fill_null(0), pl.col("sum_30d").fill_null(0)
    mean_square = count * pl.col("squares_30d")
    spread = mean_square - total * total
    hour = pl.col("timestamp").dt.hour()
    since = (pl.col("timestamp") - pl.col("previous")).dt.total_seconds()
    coordinates, home = ("latitude", "longitude"), ("customer_latitude", "customer_longitude")
    from_previous = distance(*coordinates, *(f"{axis}_previous" for axis in coordinates))
    merchant = pl.col("merchant").is_not_null()
    volume, frauds = pl.col("volume_30d").fill_null(0), pl.col("frauds_30d").fill_null(0)
    return {
        "amount": cents / 100,
        "amount_zscore": pl.when(count > 1, spread > 1e-12 * mean_square).then((count * cents - total) / spread.sqrt()),
        "amount_ratio_7d": pl.when(pl.col("sum_7d") != 0).then(cents * pl.col("count_7d") / pl.col("sum_7d")),
        "amount_ratio_30d": pl.when(total != 0).then(cents * count / total),
        "amount_max_ratio_30d": pl.when(pl.col("max_30d") != 0).then(cents / pl.col("max_30d")),
        "largest_ratio_7d": pl.when(total != 0, pl.col("count_7d") > 0).then(pl.col("max_7d") * count / total),
        "velocity_1h": pl.col("count_1h").fill_null(0),
        "velocity_24h": pl.col("count_24h").fill_null(0),
        "velocity_7d": pl.col("count_7d").fill_null(0),
        "spend_7d": pl.col("sum_7d").fill_null(0) / 100,
        "seconds_since_previous": since,
        "first_at_merchant": pl.col("known_merchant").is_null(),
        "hour_of_day": hour,
        "is_weekend": pl.col("timestamp").dt.weekday() >= 6,
        "is_night": hour < 6,
        "merchant_risk_score": risk(merchant, frauds, volume),
        "merchant_risk_7d": risk(merchant, pl.col("frauds_7d").fill_null(0), pl.col("volume_7d").fill_null(0)),
        "merchant_frauds_30d": pl.when(merchant).then(frauds),
        "merchant_fraud_recency": today - pl.col("latest"),
        "merchant_fraud_run": pl.col("latest") - pl.col("earliest"),
        "merchant_volume_30d": pl.when(merchant).then(volume),
        "category_risk_score": risk(
            pl.col("merchant_category").is_not_null(),
            pl.col("frauds_30d_category").fill_null(0),
            pl.col("volume_30d_category").fill_null(0),
        ),
        "distance_from_home": distance(*coordinates, *home),
        "distance_from_previous": from_previous,
        "speed_from_previous": from_previous / (since / 3600),
    }


def risk(has_entity: pl.Expr, frauds: pl.Expr, transactions: pl.Expr) -> pl.Expr:
    """Return the share of frauds, smoothed by a prior of 20 transactions with 1 % fraud."""
    return pl.when(has_entity).then((frauds + 0.01 * 20) / (transactions + 20))


def distance(latitude: str, longitude: str, to_latitude: str, to_longitude: str) -> pl.Expr:
    """Return the great-circle distance in km, by the haversine formula."""
    p, q, s, t = (pl.col(name).radians() for name in (latitude, longitude, to_latitude, to_longitude))
    chord = ((s - p) / 2).sin() ** 2 + p.cos() * s.cos() * ((t - q) / 2).sin() ** 2
    return 2 * 6371.0088 * chord.clip(upper_bound=1).sqrt().arcsin()


if __name__ == "__main__":
    main(*sys.argv[1:])
