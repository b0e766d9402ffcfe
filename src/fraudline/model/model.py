"""A calibrated model: what it answers, and how it is written and read.

Whoever loads it scores its probes first: a model that one version of XGBoost wrote and another reads
can give other scores without an error.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from fraudline.catalog.errors import InputError
from fraudline.model.artifact import MODEL_FILE, PROBES_FILE, find, probes
from fraudline.runtime.channels import MANIFEST_FILE, Channels, read_json

# Two builds of one XGBoost may sum a tree's leaves in another order.
PROBE_TOLERANCE = 1e-5
NEEDED = ("model_version", "contract", "definitions", "features", "calibration", "versions")

Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A booster with its calibration; ``manifest`` is what manifest.json holds."""

    booster: xgboost.Booster
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        """Such as v2026-02-01."""
        return str(self.manifest["model_version"])

    @property
    def features(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.manifest["features"])

    def margins(self, rows: Floats32) -> Floats32:
        """Raw log-odds of rows x features, NaN where a value is missing; what rows are ranked by."""
        if not len(rows):
            return np.empty(0, np.float32)
        margins: Floats32 = self.booster.inplace_predict(rows, predict_type="margin")
        return margins

    def scores(self, margins: Floats32) -> Floats:
        """Calibrated probabilities of fraud, strictly increasing in the margin."""
        slope, intercept = self.manifest["calibration"]["slope"], self.manifest["calibration"]["intercept"]
        return calibrated(margins, slope, intercept)

    def contributions(self, rows: Floats32) -> Floats32:
        """Exact SHAP values, rows x (features + bias); each row adds up to its margin."""
        values: Floats32 = self.booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
        return values


def calibrated(margins: Floats32, slope: float, intercept: float) -> Floats:
    """Platt's sigmoid of margins."""
    return 1.0 / (1.0 + np.exp(-(slope * margins.astype(np.float64) + intercept)))


def save(folder: Path, model: Model, probe_rows: Floats32) -> None:
    """Write an artifact's files; ``probe_rows`` are rows whose scores every reader must reproduce."""
    model.booster.save_model(folder / MODEL_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(model.manifest, indent=2) + "\n")
    content = {
        "rows": [[None if np.isnan(value) else float(value) for value in row] for row in probe_rows],
        "scores": model.scores(model.margins(probe_rows)).tolist(),
    }
    (folder / PROBES_FILE).write_text(json.dumps(content) + "\n")


def load(channels: Channels, name: str = "model") -> Model:
    """The artifact in a channel: its files, a model.tar.gz of them, or a champion's folder.

    Raises:
        InputError: a file is missing or broken, or the probes' scores are not reproduced.
    """
    folder = find(channels, name)
    manifest = read_json(folder / MANIFEST_FILE, name)
    if absent := [key for key in NEEDED if key not in manifest]:
        raise InputError(f"channel '{name}': {MANIFEST_FILE} lacks {', '.join(absent)}; train again with this version")
    try:
        booster = xgboost.Booster(model_file=folder / MODEL_FILE)
    except xgboost.core.XGBoostError as error:
        raise InputError(f"channel '{name}': {MODEL_FILE} is missing or broken; train again") from error
    model = Model(booster, manifest)
    rows, expected = probes(folder, name)
    scores = model.scores(model.margins(rows))
    worst = float(np.abs(scores - expected).max(initial=0))
    if not worst <= PROBE_TOLERANCE:
        raise InputError(
            f"channel '{name}': {model.version} does not reproduce its probes (a score differs by {worst:.2g}); it was "
            f"written by XGBoost {manifest['versions']['xgboost']}, this is {xgboost.__version__}; use the same"
        )
    return model
