"""A small trained model as an artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xgboost

from fraudline.model.model import Model, save

ROWS = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)


def write_artifact(folder: Path, version: str = "v2026-02-01", least: float = 1) -> Path:
    """Train on ROWS, of which those are fraud whose first two features sum to more than ``least``."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = (ROWS[:, 0] + ROWS[:, 1] > least).astype(np.int8)
    booster = xgboost.train({"objective": "binary:logistic", "seed": 1}, xgboost.DMatrix(ROWS, labels), 20)
    manifest = {
        "model_version": version,
        "contract": "abc",
        "definitions": {"amount": ["transaction", "Amount", {}, 0, "currency"]},
        "features": ["amount", "velocity_1h", "hour_of_day"],
        "calibration": {"method": "platt", "slope": 1.1, "intercept": -0.2},
        "versions": {"xgboost": xgboost.__version__},
        "histograms": {},
    }
    save(folder, Model(booster, manifest), ROWS[:100])
    return folder
