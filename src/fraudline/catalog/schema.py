"""The columns of every table that one stage writes and another reads.

Change a schema here, and readers raise InputError until the stage that writes the table has run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

Schema = Mapping[str, Any]

_TIMESTAMP = pl.Datetime("us", "UTC")

TRANSACTIONS: Schema = {
    "transaction_id": pl.String,
    "customer_id": pl.String,
    "merchant": pl.String,
    "cents": pl.Int64,
    "timestamp": _TIMESTAMP,
    "merchant_category": pl.String,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "customer_latitude": pl.Float64,
    "customer_longitude": pl.Float64,
}

# day: the transaction's day. known_day: the day during which the label became known; features see it from the next day
# on. Both are days since 1970-01-01.
LABELS: Schema = {
    "transaction_id": pl.String,
    "merchant": pl.String,
    "merchant_category": pl.String,
    "day": pl.Int32,
    "known_day": pl.Int32,
    "is_fraud": pl.Int8,
}

# weight: the number of similar rows that a row represents in training; 0 if it was not sampled.
DATASET: Schema = {**TRANSACTIONS, "known_day": pl.Int32, "is_fraud": pl.Int8, "weight": pl.Float32}

# The first columns of a feature table; the features follow, in the order of its contract.json.
FEATURE_KEYS: Schema = {"transaction_id": pl.String, "customer_id": pl.String, "timestamp": _TIMESTAMP}

REASON = pl.Struct({"feature": pl.String, "value": pl.Float32, "contribution": pl.Float32})

SCORES: Schema = {
    "transaction_id": pl.String,
    "margin": pl.Float32,
    "fraud_score": pl.Float64,
    "confidence": pl.Float64,
    "risk_level": pl.String,
    "reasons": pl.List(REASON),
    "model_version": pl.String,
}

HIGH_RISK: Schema = {
    "transaction_id": pl.String,
    "customer_id": pl.String,
    "merchant": pl.String,
    "cents": pl.Int64,
    "timestamp": _TIMESTAMP,
    "fraud_score": pl.Float64,
    "expected_loss": pl.Float64,
    "alert_priority": pl.String,
    "reasons": pl.List(REASON),
    "model_version": pl.String,
}

# channel: raw or labels. Columns that a channel does not have are null.
REJECTED: Schema = {
    "channel": pl.String,
    "transaction_id": pl.String,
    "customer_id": pl.String,
    "merchant": pl.String,
    "amount": pl.Float64,
    "timestamp": _TIMESTAMP,
    "partition": pl.Date,
    "is_fraud": pl.Int64,
    "reasons": pl.List(pl.String),
}
