"""Compare challenger and champion on the last mature days, and write the gate's verdict."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support, roc_auc_score

from fraudline.catalog.contract import difference
from fraudline.catalog.errors import InputError
from fraudline.catalog.risk import above
from fraudline.catalog.run import Run
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.model.artifact import champion_of
from fraudline.model.feature_table import FeatureTable, read_labeled_features
from fraudline.model.metrics import CardRanking, average_precision
from fraudline.model.model import Floats, Floats32, Model, load
from fraudline.runtime.channels import Channels
from fraudline.train import gate

WATCHED_METRICS = ("accuracy", "recall", gate.AVERAGE_PRECISION, gate.CARD_PRECISION)


def run(
    channels: Channels,
    run: Run,
    threshold: float,
    min_average_precision: float,
    min_card_precision: float,
    samples: int,
    seed: int,
) -> Summary:
    """Write ``evaluation`` (the scores of the test window, and verdict.json); the summary has the metrics."""
    test, model = read_labeled_features(channels, "test"), load(channels)
    if model.manifest["contract"] != test.contract["contract"]:
        raise InputError(
            f"channel 'model': it does not match channel 'test': {difference(model.manifest, test.contract)}; "
            "train on features of the same contract"
        )
    if not 0 < test.labels.sum() < len(test.labels):
        raise InputError(
            "channel 'test': expected frauds and genuine rows, got only one kind; deliver more labels, or more days"
        )
    margins = model.margins(test.values)
    scores = model.scores(margins)
    flagged = above(scores, threshold)
    metrics = _metrics(test, margins, scores, flagged)
    comparison = _comparison(channels, test, model, margins, samples, seed)
    floors = {gate.AVERAGE_PRECISION: min_average_precision, gate.CARD_PRECISION: min_card_precision}
    verdict = gate.judge(metrics, floors, comparison)
    columns = [pl.Series("margin", margins), pl.Series("fraud_score", scores), pl.Series("is_fraud", test.labels)]
    channels.write("evaluation", test.keys.with_columns(columns))
    decision = {"model_version": model.version, "deploy_recommended": verdict.deploy, "reasons": list(verdict.reasons)}
    channels.write_json("evaluation", "verdict.json", decision)
    return {
        **decision,
        "metrics": metrics,
        "threshold": threshold,
        "test_samples": len(test.labels),
        "test_period": {key: test.contract[key] for key in ("first", "end")},
        "true_positives": int(np.sum(flagged & (test.labels == 1))),
        "false_positives": int(np.sum(flagged & (test.labels == 0))),
        "comparison": _comparison_summary(comparison),
        "record_count": len(test.labels),
        WATCHED: {name: metrics[name] for name in WATCHED_METRICS},
        "exit_message": f"deploy_recommended={str(verdict.deploy).lower()}: {'; '.join(verdict.reasons)}",
    }


def _metrics(test: FeatureTable, margins: Floats32, scores: Floats, flagged: NDArray[np.bool_]) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(test.labels, flagged, average="binary", zero_division=0)
    days = test.keys.get_column("timestamp").dt.date()
    cards = CardRanking(test.keys.get_column("customer_id"), days, test.labels, margins)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1_score": float(f1),
        "accuracy": float(np.mean(flagged == (test.labels == 1))),
        "auc": float(roc_auc_score(test.labels, margins)),
        gate.AVERAGE_PRECISION: average_precision(test.labels, margins),
        gate.CARD_PRECISION: cards.precision(gate.CARDS),
        "brier": float(brier_score_loss(test.labels, scores)),
    }


def _comparison(
    channels: Channels, test: FeatureTable, challenger: Model, margins: Floats32, samples: int, seed: int
) -> gate.Comparisons | str | None:
    """Compare challenger and champion.

    Returns:
        The comparison, or the reason why the models can't be compared, or None if there is no champion yet.
    """
    if champion_of(channels) is None:
        return None
    champion = load(channels, "champion")
    if champion.manifest["contract"] != test.contract["contract"]:
        return f"champion {champion.version}: {difference(champion.manifest, test.contract)}"
    # A champion that was trained or validated on days of the test window would have an unfair advantage. A rerun after
    # the deployment finds the challenger itself as the champion, and comparing a model with itself is always fair.
    if champion.manifest != challenger.manifest and champion.manifest["validation"]["end"] > test.contract["first"]:
        return (
            f"champion {champion.version} was trained on days up to {champion.manifest['validation']['end']}, "
            f"and the test window begins on {test.contract['first']}"
        )
    return gate.compare(test.keys, test.labels, margins, champion.margins(test.values), samples=samples, seed=seed)


def _comparison_summary(comparison: gate.Comparisons | str | None) -> dict[str, Any] | str | None:
    if isinstance(comparison, dict):
        return {name: asdict(compared) for name, compared in comparison.items()}
    return comparison
