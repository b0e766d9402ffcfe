"""Fit the trees, calibrate their margins, and write an artifact that checks itself when loaded."""

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
from fraudline.model.feature_table import FeatureTable, read_labeled_features
from fraudline.model.histograms import Histogram, histogram
from fraudline.model.metrics import average_precision
from fraudline.model.model import Model, save
from fraudline.runtime.channels import Channels
from fraudline.train.calibration import platt
from fraudline.train.early_stopping import Checkpoint, EarlyStopping, origin

_log = logging.getLogger(__name__)

PROBES = 100


def run(
    channels: Channels, run: Run, algorithm: str, rounds: int, max_depth: int, learning_rate: float, seed: int
) -> Summary:
    """Write ``model``: the artifact, with a summary inside."""
    train, validation = read_labeled_features(channels, "train"), read_labeled_features(channels, "validation")
    if train.contract["contract"] != validation.contract["contract"]:
        reason = difference(validation.contract, train.contract)
        raise InputError(
            f"channel 'validation': it does not match channel 'train': {reason}; run feature-engineering again"
        )
    stopping, calibrating = _halves(validation)
    _log.info("fitting %d rows, %d of them fraud", len(train.labels), train.labels.sum())
    parameters = {"rounds": rounds, "max_depth": max_depth, "learning_rate": learning_rate, "seed": seed}
    booster, stopped = _fit(train, stopping, algorithm, parameters, channels.checkpoints)
    margins = booster.inplace_predict(calibrating.values, predict_type="margin")
    calibration = platt(margins, calibrating.labels)
    model = Model(booster, _manifest(run, algorithm, parameters, train, validation, booster, calibration))
    folder = channels.output("model")
    save(folder, model, _probe_rows(validation, seed))
    summary = _summary(run, model.manifest, stopped=stopped)
    # SageMaker Training uploads only the model folder, so the summary goes inside.
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
    return summary


def _manifest(
    run: Run,
    algorithm: str,
    parameters: dict[str, Any],
    train: FeatureTable,
    validation: FeatureTable,
    booster: xgboost.Booster,
    calibration: dict[str, float | str],
) -> dict[str, Any]:
    """Return the manifest of a model. It has no job name and no time, so the same input gives the same manifest."""
    margins = booster.inplace_predict(validation.values, predict_type="margin")
    return {
        "model_version": f"v{run.as_of}",
        "algorithm": algorithm,
        "contract": train.contract["contract"],
        "definitions": train.contract["definitions"],
        "features": train.contract["features"],
        "calibration": calibration,
        "trees": booster.num_boosted_rounds(),
        "parameters": parameters,
        "train": _split_summary(train),
        "validation": {
            **_split_summary(validation),
            "average_precision": average_precision(validation.labels, margins),
        },
        "histograms": _histograms(train),
        "versions": {"fraudline": __version__, "xgboost": xgboost.__version__, "python": platform.python_version()},
    }


def _summary(run: Run, manifest: dict[str, Any], *, stopped: bool) -> Summary:
    return {
        "training_job_name": run.job.name if run.job else None,
        "training_job_arn": run.job.arn if run.job else None,
        "status": "Stopped" if stopped else "Completed",
        "model_s3_path": None,
        "record_count": manifest["train"]["rows"],
        **{key: manifest[key] for key in ("model_version", "algorithm", "trees", "train", "validation", "calibration")},
    }


def _fit(
    train: FeatureTable, stopping: FeatureTable, algorithm: str, parameters: dict[str, Any], checkpoints: Path | None
) -> tuple[xgboost.Booster, bool]:
    """Return the fitted trees, and whether SIGTERM ended the fit early.

    Args:
        train: rows to fit.
        stopping: rows on which the average precision decides the number of boosted trees.
        algorithm: xgboost or random-forest.
        parameters: rounds, max_depth, learning_rate and seed.
        checkpoints: a folder that outlives the instance, or None if there is none.
    """
    settings: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "aucpr", "tree_method": "hist"}
    settings |= {"max_depth": parameters["max_depth"], "seed": parameters["seed"]}
    # Weights make the margins those of all rows, although genuine rows were sampled.
    rows = xgboost.QuantileDMatrix(train.values, train.labels, weight=_weights(train))
    if algorithm == "xgboost":
        settings |= {"subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 5}
        settings |= {"learning_rate": parameters["learning_rate"]}
        watched = xgboost.QuantileDMatrix(stopping.values, stopping.labels, ref=rows)
        checkpoint = Checkpoint(checkpoints, origin(train, stopping, parameters) if checkpoints else "")
        return _boost(rows, watched, settings, parameters["rounds"], checkpoint)
    if algorithm == "random-forest":
        settings |= {
            "learning_rate": 1.0,
            "subsample": 0.63,
            "colsample_bynode": 0.5,
            "num_parallel_tree": min(parameters["rounds"], 200),
        }
        return xgboost.train({**settings, "max_depth": max(parameters["max_depth"], 10)}, rows, 1), False
    raise InputError(f"--algorithm must be xgboost or random-forest, got '{algorithm}'")


def _boost(
    rows: xgboost.DMatrix, watched: xgboost.DMatrix, settings: dict[str, Any], rounds: int, checkpoint: Checkpoint
) -> tuple[xgboost.Booster, bool]:
    """Return the trees up to the best score on the watched rows, and whether SIGTERM ended boosting early."""
    previous = checkpoint.load()
    previous_trees = previous.num_boosted_rounds() if previous else 0
    stopping = EarlyStopping(checkpoint, previous)
    # After a checkpoint, XGBoost counts rounds from 0 again and would repeat the subsamples of the first trees.
    settings = settings | {"seed": settings["seed"] + previous_trees}
    with stopping.on_sigterm():
        booster = xgboost.train(
            settings,
            rows,
            rounds - previous_trees,
            evals=[(watched, "watched")],
            verbose_eval=False,
            callbacks=[stopping],
            xgb_model=previous,
        )
    if not stopping.stop_requested:
        checkpoint.clear()
    _log.info("watched aucpr=%.6f after %d trees", stopping.best_score, stopping.best_trees)
    booster = booster[: stopping.best_trees]
    # Without the attributes of checkpoints, an interrupted training ends with the same bytes as one without a break.
    booster.set_attr(best_score=None, best_trees=None, origin=None)
    return booster, stopping.stop_requested


def _weights(table: FeatureTable) -> NDArray[np.float32] | None:
    """Return the weights, or None if all are 1, because unweighted rows take less memory."""
    return None if np.all(table.weights == 1) else table.weights


def _halves(validation: FeatureTable) -> tuple[FeatureTable, FeatureTable]:
    """Split by time: the earlier half is for early stopping, the later one for calibration.

    Calibration on the rows that chose the number of trees would make the probabilities too confident.
    """
    seconds = validation.keys.get_column("timestamp").dt.epoch("s").to_numpy()
    later = seconds >= np.median(seconds)
    return _subset(validation, ~later), _subset(validation, later)


def _subset(validation: FeatureTable, rows: NDArray[np.bool_]) -> FeatureTable:
    labels = validation.labels[rows]
    if not labels.any():
        raise InputError(
            "channel 'validation': its earlier or later half has no known fraud; deliver more days or more labels"
        )
    return FeatureTable(
        validation.values[rows], labels, validation.weights[rows], validation.keys.filter(rows), validation.contract
    )


def _split_summary(table: FeatureTable) -> dict[str, Any]:
    """Return the period of a table (``end`` is excluded) and its counts, for the manifest."""
    return {
        "first": table.contract["first"],
        "end": table.contract["end"],
        "rows": len(table.labels),
        "frauds": int(table.labels.sum()),
    }


def _probe_rows(validation: FeatureTable, seed: int) -> NDArray[np.float32]:
    """Choose frauds and other rows in equal number, so that the probes span the scores."""
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
