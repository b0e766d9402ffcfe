"""Fits the forest, calibrates it, and writes an artifact that can check itself."""

from __future__ import annotations

import json
import logging
import platform
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from fraudline import __version__
from fraudline.catalog.contract import difference
from fraudline.catalog.errors import InputError
from fraudline.catalog.run import Run
from fraudline.catalog.stage import SUMMARY_FILE, Summary
from fraudline.model.feature_table import FeatureTable, read_features
from fraudline.model.histograms import Histogram, histogram
from fraudline.model.metrics import average_precision
from fraudline.model.model import Model, save
from fraudline.runtime.channels import Channels
from fraudline.train.calibration import platt
from fraudline.train.growth import Checkpoint, Growth, origin

_log = logging.getLogger(__name__)

PROBES = 100


def run(
    channels: Channels, run: Run, algorithm: str, rounds: int, max_depth: int, learning_rate: float, seed: int
) -> Summary:
    """Write ``model``: the artifact, with a summary inside."""
    train, validation = read_features(channels, "train"), read_features(channels, "validation")
    if train.contract["contract"] != validation.contract["contract"]:
        told = difference(validation.contract, train.contract)
        raise InputError(f"channel 'validation': {told}, as 'train' has it; engineer both again")
    stopping, calibrating = _halves(validation)
    _log.info("fitting %d rows, %d of them fraud", len(train.labels), train.labels.sum())
    parameters = {"rounds": rounds, "max_depth": max_depth, "learning_rate": learning_rate, "seed": seed}
    booster, stopped = _fit(train, stopping, algorithm, parameters, channels.checkpoints)
    margins = booster.inplace_predict(calibrating.values, predict_type="margin")
    calibration = platt(margins, calibrating.labels)
    version = f"v{run.as_of}"
    manifest = {
        "model_version": version,
        "algorithm": algorithm,
        "contract": train.contract["contract"],
        "definitions": train.contract["definitions"],
        "features": train.contract["features"],
        "calibration": calibration,
        "trees": booster.num_boosted_rounds(),
        "parameters": parameters,
        "train": {**_period(train), "rows": len(train.labels), "frauds": int(train.labels.sum())},
        "validation": {
            **_period(validation),
            "rows": len(validation.labels),
            "frauds": int(validation.labels.sum()),
            "average_precision": average_precision(
                validation.labels, booster.inplace_predict(validation.values, predict_type="margin")
            ),
        },
        "histograms": _histograms(train),
        "versions": {"fraudline": __version__, "xgboost": xgboost.__version__, "python": platform.python_version()},
    }
    folder = channels.output("model")
    save(folder, Model(booster, manifest), _probe_rows(validation, seed))
    summary = {
        "training_job_name": f"fraud-model-{run.as_of}",
        "training_job_arn": None,
        "status": "Stopped" if stopped else "Completed",
        "model_s3_path": None,
        "record_count": len(train.labels),
        **{key: manifest[key] for key in ("model_version", "algorithm", "trees", "train", "validation", "calibration")},
    }
    # SageMaker Training uploads the model folder and nothing else.
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _fit(
    train: FeatureTable, stopping: FeatureTable, algorithm: str, parameters: dict[str, Any], checkpoints: Path | None
) -> tuple[xgboost.Booster, bool]:
    """The forest, and whether it was told to stop before it had grown."""
    settings: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "aucpr", "tree_method": "hist"}
    settings |= {"max_depth": parameters["max_depth"], "seed": parameters["seed"]}
    # With weights the margins are those of all rows, sampled or not.
    rows = xgboost.QuantileDMatrix(train.values, train.labels, weight=_weights(train))
    if algorithm == "xgboost":
        settings |= {"subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 5}
        settings |= {"learning_rate": parameters["learning_rate"]}
        watched = xgboost.QuantileDMatrix(stopping.values, stopping.labels, ref=rows)
        checkpoint = Checkpoint(checkpoints, origin(train, stopping, parameters) if checkpoints else "")
        return _boosted(rows, watched, settings, parameters["rounds"], checkpoint)
    if algorithm == "random-forest":
        settings |= {
            "learning_rate": 1.0,
            "subsample": 0.63,
            "colsample_bynode": 0.5,
            "num_parallel_tree": min(parameters["rounds"], 200),
        }
        return xgboost.train({**settings, "max_depth": max(parameters["max_depth"], 10)}, rows, 1), False
    raise InputError(f"--algorithm must be xgboost or random-forest, got '{algorithm}'")


def _boosted(
    rows: xgboost.DMatrix, watched: xgboost.DMatrix, settings: dict[str, Any], rounds: int, checkpoint: Checkpoint
) -> tuple[xgboost.Booster, bool]:
    before = checkpoint.load()
    growth, grown = Growth(checkpoint, before), before.num_boosted_rounds() if before else 0
    # XGBoost counts its rounds from 0 again, and would draw the rows of the first trees once more.
    settings = settings | {"seed": settings["seed"] + grown}
    with growth.stopped_by_sigterm():
        booster = xgboost.train(
            settings,
            rows,
            rounds - grown,
            evals=[(watched, "watched")],
            verbose_eval=False,
            callbacks=[growth],
            xgb_model=before,
        )
    if not growth.told:
        checkpoint.clear()
    _log.info("watched aucpr=%.6f after %d trees", growth.best_score, growth.best_trees)
    booster = booster[: growth.best_trees]
    booster.set_attr(best_score=None, best_trees=None, origin=None)
    return booster, growth.told


def _weights(table: FeatureTable) -> NDArray[np.float32] | None:
    """The weights, or None where all rows stand for themselves: nothing is weighed then."""
    return None if np.all(table.weights == 1) else table.weights


def _halves(validation: FeatureTable) -> tuple[FeatureTable, FeatureTable]:
    """The earlier half to stop on, the later to calibrate on: rows that chose the trees would flatter them."""
    seconds = validation.keys.get_column("timestamp").dt.epoch("s").to_numpy()
    later = seconds >= np.median(seconds)
    parts = tuple(
        FeatureTable(
            validation.values[rows],
            validation.labels[rows],
            validation.weights[rows],
            validation.keys.filter(rows),
            validation.contract,
        )
        for rows in (~later, later)
    )
    for part in parts:
        if not part.labels.any():
            raise InputError("channel 'validation': a half of it has no known fraud; deliver more days or more labels")
    return parts[0], parts[1]


def _period(table: FeatureTable) -> dict[str, str]:
    return {"first": table.contract["first"], "end": table.contract["end"]}


def _probe_rows(validation: FeatureTable, seed: int) -> NDArray[np.float32]:
    """Frauds and others in equal number, so that the probes span the scores."""
    order = np.random.default_rng(seed).permutation(len(validation.labels))
    frauds = order[validation.labels[order] == 1][: PROBES // 2]
    others = order[validation.labels[order] == 0][: PROBES - len(frauds)]
    chosen: NDArray[np.float32] = validation.values[np.concatenate([frauds, others])]
    return chosen


def _histograms(train: FeatureTable) -> dict[str, Histogram]:
    days = train.keys.get_column("timestamp").dt.epoch("d").to_numpy()
    return {
        name: histogram(train.values[:, column], days, train.weights)
        for column, name in enumerate(train.contract["features"])
    }
