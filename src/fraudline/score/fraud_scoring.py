"""Score every transaction of the day, in process, over HTTP or through a SageMaker endpoint."""

from __future__ import annotations

import json

import polars as pl

from fraudline.catalog.contract import ContractFile, difference
from fraudline.catalog.errors import InputError
from fraudline.catalog.risk import HIGH, LOW, MEDIUM
from fraudline.catalog.run import Run
from fraudline.catalog.stage import Summary
from fraudline.model.feature_table import read_features
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from fraudline.runtime.feature_contract import read_contract
from fraudline.score import client, risk

SHOWN_ROWS = 20  # number of rows in the summary


def run(channels: Channels, run: Run, endpoint: str, batch: int, max_rejected: float) -> Summary:
    """Write ``scores``, in the order of the features; refused.jsonl lists the rows that an endpoint refused."""
    contract = read_contract(channels, "features")
    keys, rows = read_features(channels, "features", contract["features"])
    ids = keys.get_column("transaction_id")
    if endpoint:
        scored = client.score(endpoint, ids, rows, batch, max_refused=max_rejected)
    else:
        scored = client.Scored(risk.score(_load(channels, contract), ids, rows), [])
    channels.write("scores", scored.scores)
    refused = [row._asdict() for row in scored.refused]
    if refused:
        lines = "".join(f"{json.dumps(row)}\n" for row in refused)
        (channels.output("scores") / "refused.jsonl").write_text(lines)
    return {**summarize(scored.scores), "refused": refused[:SHOWN_ROWS], "refused_count": len(refused)}


def _load(channels: Channels, contract: ContractFile) -> Model:
    """Load the model, and check that it was trained on features of this contract.

    Raises:
        InputError: the model expects features of another contract.
    """
    model = load(channels)
    if model.manifest["contract"] != contract["contract"]:
        raise InputError(
            f"channel 'features': it does not match model {model.version}: {difference(contract, model.manifest)}; "
            "run feature-extraction and training from the same version"
        )
    return model


def summarize(scores: pl.DataFrame) -> Summary:
    """Return the summary: the first scores, and the number of scores by risk level."""
    counts = dict(scores.get_column("risk_level").value_counts().iter_rows())
    first = scores.head(SHOWN_ROWS).select("transaction_id", "fraud_score", "confidence", "risk_level")
    return {
        "scored_transactions": first.to_dicts(),
        "record_count": scores.height,
        **{f"{level.lower()}_risk_count": counts.get(level, 0) for level in (HIGH, MEDIUM, LOW)},
        "model_version": scores.get_column("model_version").first(),
    }
