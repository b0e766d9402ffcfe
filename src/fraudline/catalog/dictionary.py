"""Descriptions of every column and every summary key that the stages write.

``docs/outputs.md`` prints them. Tests hold them against the schemas and against the summaries of real runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fraudline.catalog.features import FEATURES
from fraudline.catalog.stage import WATCHED
from fraudline.catalog.stages import STAGES


@dataclass(frozen=True)
class Table:
    """A table that stages write.

    Attributes:
        name: the schema's name in ``fraudline.catalog.schema`` or, for a history, in ``fraudline.features.history``.
        location: the channels that hold it.
        rows: what one row stands for.
        columns: descriptions by column.
    """

    name: str
    location: str
    rows: str
    columns: Mapping[str, str]


_TRANSACTION = {
    "transaction_id": "identifier of the transaction, unique over all days",
    "customer_id": "identifier of the customer (one card)",
    "merchant": "identifier of the merchant",
    "cents": "amount in hundredths of the currency's unit",
    "timestamp": "when the transaction happened, in UTC",
}
_COORDINATES = {
    "merchant_category": "category of the merchant, such as a merchant category code; null where it was not delivered",
    "latitude": "degrees north of the transaction; null where it was not delivered",
    "longitude": "degrees east of the transaction; null where it was not delivered",
    "customer_latitude": "degrees north of the customer's home; null where it was not delivered",
    "customer_longitude": "degrees east of the customer's home; null where it was not delivered",
}
_IS_FRAUD = "1 for fraud, 0 for genuine"
_KNOWN_DAY = (
    "day, since 1970-01-01, on which the label became known; features of later days see it. "
    "Null where the label was not known before as_of"
)
_WEIGHT = "rows that this row stands for in training; 0 for a row that was not sampled"
_MARGIN = "raw output of the trees in log-odds, before calibration; ranks the scores"
_FRAUD_SCORE = "calibrated probability of fraud, from 0 to 1"
_REASONS = (
    "up to three reason codes, the largest contribution first: feature, its value, "
    "and its exact SHAP contribution to the margin; empty for LOW"
)
_MODEL_VERSION = "version of the model that scored, vYYYY-MM-DD"
_FEATURES = {feature.name: f"{feature.description} ({feature.unit})" for feature in FEATURES}

TABLES: tuple[Table, ...] = (
    Table("TRANSACTIONS", "`transactions` of `etl`", "one valid transaction of the day", _TRANSACTION | _COORDINATES),
    Table(
        "DATASET",
        "`dataset` of `data-extraction`",
        "one valid transaction of the last months, with its label",
        _TRANSACTION
        | _COORDINATES
        | {
            "known_day": _KNOWN_DAY,
            "is_fraud": f"{_IS_FRAUD}; null where the label was not known before as_of",
            "weight": _WEIGHT,
        },
    ),
    Table(
        "LABELS",
        "`labels` of `etl`",
        "one label of the last 60 days, known before as_of",
        {
            "transaction_id": "the labeled transaction",
            "merchant": "merchant of that transaction",
            "merchant_category": "category of that merchant",
            "day": "day of that transaction, since 1970-01-01",
            "known_day": "day, since 1970-01-01, on which the label became known; features of later days see it",
            "is_fraud": _IS_FRAUD,
        },
    ),
    Table(
        "REJECTED",
        "`rejected` of `data-extraction` and `etl`",
        "one rejected row of a delivery; columns of the other channel are null",
        {
            "channel": "`raw` or `labels`",
            "transaction_id": "as delivered",
            "customer_id": "as delivered",
            "merchant": "as delivered",
            "amount": "as delivered, in the currency's unit; null where it is not a number",
            "timestamp": "as delivered, in UTC; null where it is not a timestamp",
            "partition": "day of the folder that the row was delivered in",
            "is_fraud": "as delivered; null where it is not a number",
            "reasons": "every reason for which the row was rejected ([list](data.md#rejected-rows))",
        },
    ),
    Table(
        "FEATURES",
        "`features` of `feature-extraction`; `train`, `validation` and `test` of `feature-engineering`",
        "one transaction with its features; the label and the weight only in the three splits of training",
        {name: _TRANSACTION[name] for name in ("transaction_id", "customer_id", "timestamp")}
        | _FEATURES
        | {"is_fraud": _IS_FRAUD, "weight": _WEIGHT},
    ),
    Table(
        "SCORES",
        "`scores` of `fraud-scoring`, and `archive` of `alert-and-store`",
        "one scored transaction",
        {
            "transaction_id": "the scored transaction",
            "margin": _MARGIN,
            "fraud_score": _FRAUD_SCORE,
            "confidence": "the larger of fraud_score and 1 - fraud_score",
            "risk_level": "HIGH above 0.8, MEDIUM above 0.5, else LOW",
            "reasons": _REASONS,
            "model_version": _MODEL_VERSION,
        },
    ),
    Table(
        "HIGH_RISK",
        "`high_risk` of `filter-high-risk`",
        "one transaction above the threshold; the highest margin first",
        _TRANSACTION
        | {
            "fraud_score": _FRAUD_SCORE,
            "expected_loss": "amount times fraud_score, in the currency's unit",
            "alert_priority": "URGENT from an expected loss of `--urgent-loss`, else NORMAL",
            "reasons": _REASONS,
            "model_version": _MODEL_VERSION,
        },
    ),
    Table(
        "EVALUATION",
        "`evaluation` of `evaluate-model`",
        "one transaction of the test window, scored by the challenger",
        {
            "transaction_id": _TRANSACTION["transaction_id"],
            "customer_id": _TRANSACTION["customer_id"],
            "timestamp": _TRANSACTION["timestamp"],
            "margin": _MARGIN,
            "fraud_score": _FRAUD_SCORE,
            "is_fraud": _IS_FRAUD,
        },
    ),
    Table(
        "EVENTS",
        "`history`: `events.parquet`",
        "one transaction of the last 30 days",
        {
            "customer_id": _TRANSACTION["customer_id"],
            "second": "when it happened, in seconds since 1970-01-01 UTC",
            "cents": _TRANSACTION["cents"],
            "merchant": _TRANSACTION["merchant"],
            "latitude": _COORDINATES["latitude"],
            "longitude": _COORDINATES["longitude"],
        },
    ),
    Table(
        "COUNTS",
        "`history`: `counts.parquet`",
        "one merchant or category on one of the last 60 days",
        {
            "entity": "`merchant` or `merchant_category`",
            "key": "the merchant or the category",
            "day": "the day, since 1970-01-01",
            "transactions": "transactions on that day",
        },
    ),
    Table(
        "FRAUDS",
        "`history`: `frauds.parquet`",
        "the known frauds of one merchant or category on one day, by the day on which they became known",
        {
            "entity": "`merchant` or `merchant_category`",
            "key": "the merchant or the category",
            "day": "day of the frauds, since 1970-01-01",
            "known_day": "day on which they became known, since 1970-01-01",
            "frauds": "number of frauds",
        },
    ),
)  # fmt: skip

_COUNT = "rows that the stage wrote"
_FIRST_TRANSACTIONS = {"transactions": "the first 20 transactions by time: transaction_id, amount, merchant, timestamp"}
_REJECTION = {
    "rejected": "rejected rows of `raw` by reason; a row with two reasons counts twice",
    "rejected_labels": "rejected rows of `labels` by reason",
    "copies_collapsed": "repeated rows, equal in every column, of which one was kept",
}
_HISTORY = {
    "history": "manifest of the published history: contract and definitions of the features, before (the first day "
    "that it serves), label_delay_days, execution, content (a hash), rows by table, and origin (the history that it "
    "extends)"
}
_DAYS = "first and end (the day after the last)"

# Keys of a stage's summary.json, without the metrics below ``watched``, which the stage's Metric rows describe.
SUMMARY_KEYS: Mapping[str, Mapping[str, str]] = {
    "data-extraction": {
        **_FIRST_TRANSACTIONS,
        "record_count": "rows in the dataset",
        "labelled_count": "rows whose label was known before as_of",
        "fraud_count": "rows known as fraud",
        "sampled_count": "rows of a weight above 0",
        "fraud_rate": "fraud_count over labelled_count; null without labels",
        **_REJECTION,
        "labels_without_transaction": "known labels of transactions that were not read, such as earlier ones",
        "folders": "folders of the dataset",
        "sample": "the share of genuine rows that were sampled for training",
    },
    "feature-engineering": {
        "features": "the names of the features, in their order",
        "feature_count": "number of features",
        "record_count": "rows whose features were computed",
        "periods": f"of train, validation and test: {_DAYS}, and rows",
        **_HISTORY,
    },
    "train": {
        "training_job_name": "name of the SageMaker Training job; null outside SageMaker",
        "training_job_arn": "its ARN; null outside SageMaker",
        "status": "`Completed`, or `Stopped` where SIGTERM ended boosting early",
        "model_s3_path": "null: SageMaker uploads the artifact after the stage has ended",
        "record_count": "rows of the training split",
        "model_version": "version of the model, vYYYY-MM-DD",
        "algorithm": "`xgboost` or `random-forest`",
        "trees": "trees of the model",
        "train": f"of the training split: {_DAYS}, rows, frauds",
        "validation": f"of the validation split: {_DAYS}, rows, frauds, average_precision",
        "calibration": "method, slope and intercept by which a margin becomes a probability",
    },
    "evaluate-model": {
        "model_version": "version of the challenger",
        "deploy_recommended": "the gate's verdict",
        "reasons": "the gate's reasons, in words",
        "metrics": "on the test window: precision, recall, f1_score and accuracy at the threshold; auc, "
        "average_precision, card_precision_at_100 and brier",
        "threshold": "the threshold of those metrics",
        "test_samples": "rows of the test window",
        "test_period": f"of the test window: {_DAYS}",
        "true_positives": "frauds above the threshold",
        "false_positives": "genuine rows above the threshold",
        "comparison": "challenger minus champion, by metric: the difference and its confidence interval from the "
        "paired bootstrap; null without a champion, or the reason why it can't be compared",
        "record_count": "rows of the test window",
        "exit_message": "the verdict in one line, as the job's exit message",
    },
    "deploy-model": {
        "endpoint_name": "name of the endpoint; null without one",
        "endpoint_arn": "ARN of the endpoint; null without one",
        "status": "`Champion` without an endpoint, else the endpoint's status",
        "instance_type": "instance type of the endpoint; null without one",
        "model_version": "version of the deployed model",
        "deployed_at": "time of the deployment, UTC",
        "smoke_test": "rows that were sent through the server, and the largest_difference from the artifact's scores",
        "record_count": "rows of the smoke test",
    },
    "etl": {
        **_FIRST_TRANSACTIONS,
        "date": "the day",
        "record_count": "valid transactions of the day",
        **_REJECTION,
        "labels_known": "labels of the last 60 days that were known before as_of",
    },
    "feature-extraction": {
        "features": "the first 20 rows: transaction_id and the features, in the order of feature_names",
        "feature_names": "the names of the features, in their order",
        "record_count": "rows whose features were computed",
        **_HISTORY,
    },
    "backfill-history": {"record_count": "transactions in the history", **_HISTORY},
    "publish-history": {
        "before": "the first day that the history serves",
        "table": "the DynamoDB table",
        "record_count": "items written",
    },
    "check-consistency": {
        "record_count": "transactions in both inputs",
        "missing": "recomputed rows that were not served",
        "not_expected": "served rows that were not recomputed",
        "inconsistent": "features whose share of differences is above `--max-different`",
        "features": "by feature: compared, equal, different, missing, largest_difference",
        "exit_message": "the result in one line",
        "exit_code": "0 consistent, 3 inconsistent",
    },
    "fraud-scoring": {
        "scored_transactions": "the first 20 scores: transaction_id, fraud_score, confidence, risk_level",
        "record_count": "scored transactions",
        "high_risk_count": "scores of risk level HIGH",
        "medium_risk_count": "scores of risk level MEDIUM",
        "low_risk_count": "scores of risk level LOW",
        "model_version": _MODEL_VERSION,
        "refused": "the first 20 rows that an endpoint refused, with its reasons",
        "refused_count": "rows that an endpoint refused",
    },
    "filter-high-risk": {
        "high_risk_transactions": "the 20 highest: transaction_id, amount, merchant, fraud_score, customer_id, "
        "alert_priority",
        "count": "transactions above the threshold",
        "record_count": "transactions above the threshold",
        "threshold": "the threshold",
        "review_budget": "alerts a day that analysts can review",
        "review_threshold": "the threshold at which the day has as many alerts as the budget",
    },
    "alert-and-store": {
        "alerts": "alerts of the day, as written to alerts.jsonl",
        "alerts_sent": "alerts that SNS accepted, over all runs of the day; null without a topic",
        "messages": "SNS messages that carried these alerts, a digest several of them; null without a topic",
        "cases": "cases opened, over all runs of the day; null without a state machine",
        "archived": "scores written to the day's own address",
        "records_stored": "scores stored in the DynamoDB table; null without a table",
        "report_s3_path": "location of the PDF report",
        "status": "`Completed`",
        "record_count": "scores of the day",
    },
    "serve": {"status": "`Stopped`, after SIGTERM"},
}


def undescribed(stage: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of a stage's summary that the dictionary lacks."""
    metrics = {metric.name for metric in STAGES[stage].metrics}
    for key in summary:
        if key != WATCHED and key not in SUMMARY_KEYS[stage]:
            yield key
    for metric in summary.get(WATCHED, {}):
        if metric not in metrics:
            yield f"{WATCHED}.{metric}"
