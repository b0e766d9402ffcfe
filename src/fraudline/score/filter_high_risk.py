"""Keep the scores above the threshold, ranked, with the columns that an analyst needs."""

from __future__ import annotations

import polars as pl

from fraudline.catalog.errors import InputError
from fraudline.catalog.risk import above
from fraudline.catalog.run import Run
from fraudline.catalog.schema import HIGH_RISK, SCORES, TRANSACTIONS
from fraudline.catalog.stage import Summary
from fraudline.runtime.channels import Channels
from fraudline.score.risk import alert_priority

SHOWN_ROWS = 20  # number of rows in the summary


def run(channels: Channels, run: Run, threshold: float, review_budget: int, urgent_loss: float) -> Summary:
    """Write ``high_risk``, sorted by margin, the highest first, and then by id."""
    scores, transactions = channels.read("scores", SCORES), channels.read("transactions", TRANSACTIONS)
    joined = scores.join(transactions, on="transaction_id", how="left", maintain_order="left")
    if joined.get_column("customer_id").null_count():
        raise InputError("channel 'scores': it has transactions that channel 'transactions' lacks; score the same day")
    high_risk = ranked(joined, threshold, urgent_loss)
    channels.write("high_risk", high_risk)
    first = high_risk.head(SHOWN_ROWS).select(
        "transaction_id",
        (pl.col("cents") / 100).round(2).alias("amount"),
        "merchant",
        "fraud_score",
        "customer_id",
        "alert_priority",
    )
    return {
        "high_risk_transactions": first.to_dicts(),
        "count": high_risk.height,
        "record_count": high_risk.height,
        "threshold": threshold,
        "review_budget": review_budget,
        "review_threshold": review_threshold(scores, review_budget),
    }


def ranked(joined: pl.DataFrame, threshold: float, urgent_loss: float) -> pl.DataFrame:
    """Return the transactions above the threshold (schema HIGH_RISK), ranked.

    Args:
        joined: scored transactions, with the columns of SCORES and TRANSACTIONS.
        threshold: a probability; the score must be above it.
        urgent_loss: the smallest expected loss of an URGENT alert, in the currency of the amounts.
    """
    expected_loss = pl.col("fraud_score") * (pl.col("cents") / 100)
    # Sorted by margin, because scores near 1 round to the same number.
    return (
        joined.filter(above(pl.col("fraud_score"), threshold))
        .sort(["margin", "transaction_id"], descending=[True, False])
        .with_columns(expected_loss.round(2).alias("expected_loss"))
        .with_columns(alert_priority(pl.col("expected_loss"), urgent_loss).alias("alert_priority"))
        .select(*HIGH_RISK)
    )


def review_threshold(scores: pl.DataFrame, budget: int) -> float | None:
    """Return the score of the last alert within the review budget, or None for fewer scores than the budget."""
    if scores.height < budget:
        return None
    return float(scores.get_column("fraud_score").top_k(budget).min())  # type: ignore[arg-type]
