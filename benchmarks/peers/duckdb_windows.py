"""DuckDB: compute features of a whole dataset with window functions over RANGE frames."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

SQL = """
CREATE MACRO haversine(a, b, c, d) AS CASE WHEN a + b + c + d IS NOT NULL THEN 2 * 6371.0088 * asin(sqrt(least(1.0,
    pow(sin((radians(c) - radians(a)) / 2), 2)
    + cos(radians(a)) * cos(radians(c)) * pow(sin((radians(d) - radians(b)) / 2), 2)))) END;

CREATE TEMP VIEW source AS
SELECT *, epoch_us(timestamp) // 1000000 AS second, (epoch_us(timestamp) // 86400000000)::INTEGER AS day
FROM read_parquet('{dataset}', hive_partitioning = false);

-- Each customer's windows [t - window, t): frames that end one second before t.
CREATE TEMP TABLE customers AS
SELECT *,
    count(*) OVER hour AS n1h, count(*) OVER day1 AS n24h, count(*) OVER week AS n7d, count(*) OVER month AS n30d,
    sum(cents) OVER week AS s7d, sum(cents) OVER month AS s30d, sum(cents * cents) OVER month AS q30d,
    max(cents) OVER week AS m7d, max(cents) OVER month AS m30d, max(second) OVER month AS previous,
    count(*) OVER same_shop AS at_merchant
FROM source
WINDOW
    hour AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 3600 PRECEDING AND 1 PRECEDING),
    day1 AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 86400 PRECEDING AND 1 PRECEDING),
    week AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 604800 PRECEDING AND 1 PRECEDING),
    month AS (PARTITION BY customer_id ORDER BY second RANGE BETWEEN 2592000 PRECEDING AND 1 PRECEDING),
    same_shop AS (PARTITION BY customer_id, merchant ORDER BY second RANGE BETWEEN 2592000 PRECEDING AND 1 PRECEDING);

-- Coordinates of the previous transaction; of same-second peers the north-easternmost, unknown coordinates last.
CREATE TEMP TABLE coordinates AS
SELECT customer_id, second, last(latitude ORDER BY latitude NULLS LAST, longitude NULLS LAST) AS latitude,
    last(longitude ORDER BY latitude NULLS LAST, longitude NULLS LAST) AS longitude
FROM source WHERE EXISTS (SELECT 1 FROM source WHERE latitude IS NOT NULL) GROUP BY ALL;

-- Transactions per entity and day; a fraud is visible from the day after it is known and older than the delay.
CREATE TEMP TABLE volumes AS
SELECT entity, key, day, count(*) AS n FROM (
    SELECT 'merchant' AS entity, merchant AS key, day FROM source
    UNION ALL SELECT 'category', merchant_category, day FROM source WHERE merchant_category IS NOT NULL
) GROUP BY ALL;

CREATE TEMP TABLE frauds AS
SELECT entity, key, day, greatest(day + {delay}, known_day) + 1 AS visible, count(*) AS n FROM (
    SELECT 'merchant' AS entity, merchant AS key, day, known_day FROM source WHERE is_fraud = 1
    UNION ALL
    SELECT 'category', merchant_category, day, known_day FROM source
    WHERE is_fraud = 1 AND merchant_category IS NOT NULL
) GROUP BY ALL;

CREATE TEMP TABLE entity_days AS SELECT entity, key, day FROM volumes;

CREATE TEMP TABLE seen_frauds AS
SELECT w.entity, w.key, w.day, sum(f.n) AS f30d, sum(f.n) FILTER (f.day >= w.day - {delay} - 7) AS f7d,
    max(f.day) AS latest, min(f.day) AS earliest
FROM frauds f JOIN entity_days w
    ON w.entity = f.entity AND w.key = f.key AND w.day >= f.visible AND w.day <= f.day + {delay} + 30
GROUP BY ALL;

CREATE TEMP TABLE days AS
SELECT v.entity, v.key, v.day, coalesce(sum(n) OVER month, 0) AS n30d, coalesce(sum(n) OVER week, 0) AS n7d,
    coalesce(f30d, 0) AS f30d, coalesce(f7d, 0) AS f7d, latest, earliest
FROM volumes v LEFT JOIN seen_frauds USING (entity, key, day)
WINDOW
    month AS (PARTITION BY entity, key ORDER BY day RANGE BETWEEN {delay} + 30 PRECEDING AND {delay} + 1 PRECEDING),
    week AS (PARTITION BY entity, key ORDER BY day RANGE BETWEEN {delay} + 7 PRECEDING AND {delay} + 1 PRECEDING);

COPY (
    SELECT transaction_id,
        (cents / 100)::FLOAT AS amount,
        CASE WHEN c.n30d > 1 AND c.n30d * q30d::DOUBLE - s30d::DOUBLE * s30d > 1e-12 * (c.n30d * q30d::DOUBLE)
            THEN (c.n30d::DOUBLE * cents - s30d) / sqrt(c.n30d * q30d::DOUBLE - s30d::DOUBLE * s30d) END::FLOAT
            AS amount_zscore,
        (cents * c.n30d / nullif(s30d, 0)::DOUBLE)::FLOAT AS amount_ratio_30d,
        (cents / nullif(c.m30d, 0))::FLOAT AS amount_max_ratio_30d,
        (m7d * c.n30d / nullif(s30d, 0)::DOUBLE)::FLOAT AS largest_ratio_7d,
        (cents * c.n7d / nullif(s7d, 0)::DOUBLE)::FLOAT AS amount_ratio_7d,
        n1h::FLOAT AS velocity_1h, n24h::FLOAT AS velocity_24h, c.n7d::FLOAT AS velocity_7d,
        (coalesce(s7d, 0)::DOUBLE / 100)::FLOAT AS spend_7d,
        (c.second - previous)::FLOAT AS seconds_since_previous,
        (at_merchant = 0)::FLOAT AS first_at_merchant,
        (c.second % 86400 // 3600)::FLOAT AS hour_of_day,
        ((c.day + 3) % 7 >= 5)::FLOAT AS is_weekend,
        (c.second % 86400 // 3600 < 6)::FLOAT AS is_night,
        ((m.f30d + 0.01 * 20.0) / (m.n30d + 20.0))::FLOAT AS merchant_risk_score,
        ((m.f7d + 0.01 * 20.0) / (m.n7d + 20.0))::FLOAT AS merchant_risk_7d,
        m.f30d::FLOAT AS merchant_frauds_30d,
        (c.day - m.latest)::FLOAT AS merchant_fraud_recency,
        (m.latest - m.earliest)::FLOAT AS merchant_fraud_run,
        m.n30d::FLOAT AS merchant_volume_30d,
        ((g.f30d + 0.01 * 20.0) / (g.n30d + 20.0))::FLOAT AS category_risk_score,
        haversine(customer_latitude, customer_longitude, c.latitude, c.longitude)::FLOAT AS distance_from_home,
        haversine(c.latitude, c.longitude, p.latitude, p.longitude)::FLOAT AS distance_from_previous,
        (haversine(c.latitude, c.longitude, p.latitude, p.longitude) / ((c.second - previous) / 3600))::FLOAT
            AS speed_from_previous
    FROM customers c
    LEFT JOIN (SELECT * FROM days WHERE entity = 'merchant') m
        ON m.key = c.merchant AND m.day = c.day
    LEFT JOIN (SELECT * FROM days WHERE entity = 'category') g
        ON g.key = c.merchant_category AND g.day = c.day
    LEFT JOIN coordinates p ON p.customer_id = c.customer_id AND p.second = c.previous
) TO '{out}' (FORMAT parquet);
"""


def main(dataset: str, out: str) -> None:
    """Write ``part.parquet`` below ``out``: transaction_id and the features."""
    Path(out).mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(SQL.format(dataset=f"{dataset}/**/*.parquet", out=f"{out}/part.parquet", delay=7))


if __name__ == "__main__":
    main(*sys.argv[1:])
