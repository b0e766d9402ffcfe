"""A small trained model, and its artifact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xgboost

from fraudline.channel import Channels
from fraudline.stages import STAGES
from fraudline.train.model import Model, load, save

NAMES = ["amount", "velocity_1h", "hour_of_day"]
ROWS = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = (ROWS[:, 0] + ROWS[:, 1] > 1).astype(np.int8)
    booster = xgboost.train({"objective": "binary:logistic", "seed": 1}, xgboost.DMatrix(ROWS, labels), 20)
    manifest = {
        "model_version": "v2026-02-01",
        "contract": "abc",
        "features": NAMES,
        "calibration": {"method": "platt", "slope": 1.1, "intercept": -0.2},
        "versions": {"xgboost": xgboost.__version__},
        "histograms": {},
    }
    folder = tmp_path_factory.mktemp("artifact")
    save(folder, Model(booster, manifest), ROWS[:100])
    return folder


@pytest.fixture(scope="session")
def model(artifact: Path) -> Model:
    with Channels(STAGES["serve"], {"model": str(artifact)}, {}) as channels:
        return load(channels)
