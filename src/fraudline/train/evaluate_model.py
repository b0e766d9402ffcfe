"""Challenger against champion on the last mature days, and the gate's verdict."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support, roc_auc_score

from fraudline.catalog.contract import difference
from fraudline.catalog.errors import InputError
from fraudline.catalog.risk import above
from fraudline.catalog.run import Run
from fraudline.catalog.stage import WATCHED, Summary
from fraudline.model.artifact import champion_of
from fraudline.model.feature_table import FeatureTable, read_features
from fraudline.model.metrics import CardRanking, average_precision
from fraudline.model.model import Model, load
from fraudline.runtime.channels import Channels
from fraudline.train import gate

WATCHES = ("accuracy", "recall", "average_precision", f"card_precision_at_{gate.CARDS}")


def run(
    channels: Channels,
    run: Run,
    threshold: float,
    min_average_precision: float,
    min_card_precision: float,
    samples: int,
    seed: int,
) -> Summary:
    """Write ``evaluation``: the test window's scores and verdict.json; the metrics are in the summary."""
    test, model = read_features(channels, "test"), load(channels)
    if model.manifest["contract"] != test.contract["contract"]:
        raise InputError(
            f"channel 'model': {difference(model.manifest, test.contract)}, as the test window has it; "
            "train on features of the same contract"
        )
    if not 0 < test.labels.sum() < len(test.labels):
        raise InputError("channel 'test': needs known frauds and others to judge by; deliver more labels, or more days")
    margins = model.margins(test.values)
    scores = model.scores(margins)
    flagged = above(scores, threshold)
    metrics = _metrics(test, margins, scores, flagged)
    champion = _champion_margins(channels, test, model)
    comparison = (
        gate.compare(test.keys, test.labels, margins, champion, samples=samples, seed=seed)
        if isinstance(champion, np.ndarray)
        else champion
    )
    floors = {"average_precision": min_average_precision, f"card_precision_at_{gate.CARDS}": min_card_precision}
    verdict = gate.judge(metrics, floors, comparison)
    channels.write("evaluation", test.keys.with_columns(_columns(test, margins, scores)))
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
        "comparison": (
            {name: asdict(value) for name, value in comparison.items()} if isinstance(comparison, dict) else comparison
        ),
        "record_count": len(test.labels),
        WATCHED: {name: metrics[name] for name in WATCHES},
        "exit_message": f"deploy_recommended={str(verdict.deploy).lower()}: {'; '.join(verdict.reasons)}",
    }


def _metrics(test: FeatureTable, margins: Any, scores: Any, flagged: Any) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(test.labels, flagged, average="binary", zero_division=0)
    days = test.keys.get_column("timestamp").dt.date()
    cards = CardRanking(test.keys.get_column("customer_id"), days, test.labels, margins)
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1_score": float(f1),
        "accuracy": float(np.mean(flagged == (test.labels == 1))),
        "auc": float(roc_auc_score(test.labels, margins)),
        "average_precision": average_precision(test.labels, margins),
        f"card_precision_at_{gate.CARDS}": cards.precision(gate.CARDS),
        "brier": float(brier_score_loss(test.labels, scores)),
    }


def _champion_margins(channels: Channels, test: FeatureTable, challenger: Model) -> Any:
    """The champion's margins on the test window; None without a champion; else why it can't judge."""
    if champion_of(channels) is None:
        return None
    champion = load(channels, "champion")
    if champion.manifest["contract"] != test.contract["contract"]:
        return f"champion {champion.version}: {difference(champion.manifest, test.contract)}"
    # Validation chose its trees and its calibration: those days are no test either. But a rerun after a deployment
    # finds the challenger itself as champion, and a model is as good as itself on any day.
    if champion.manifest != challenger.manifest and champion.manifest["validation"]["end"] > test.contract["first"]:
        return (
            f"champion {champion.version} was trained on days up to {champion.manifest['validation']['end']}, "
            f"and the test window begins on {test.contract['first']}"
        )
    return champion.margins(test.values)


def _columns(test: FeatureTable, margins: Any, scores: Any) -> list[pl.Series]:
    return [pl.Series("margin", margins), pl.Series("fraud_score", scores), pl.Series("is_fraud", test.labels)]
