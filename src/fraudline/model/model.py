"""A calibrated model: score with it, save it, and load it.

Loading a model scores its probes first, because one version of XGBoost may load a model of another version without an
error and still give different scores.
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
from fraudline.model.calibration import calibrated
from fraudline.runtime.channels import MANIFEST_FILE, Channels, read_json

# The largest difference of a score: builds of the same XGBoost may sum the leaves in different orders.
PROBE_TOLERANCE = 1e-5
REQUIRED_KEYS = ("model_version", "contract", "definitions", "features", "calibration", "versions")

Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A booster with its calibration; ``manifest`` is the content of manifest.json."""

    booster: xgboost.Booster
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        """Return the version, such as v2026-02-01."""
        return str(self.manifest["model_version"])

    @property
    def features(self) -> list[str]:
        """Return the names of the features, in the order of the columns."""
        return list(self.manifest["features"])

    def margins(self, rows: Floats32) -> Floats32:
        """Return the raw log-odds, which rank the rows.

        Args:
            rows: rows x features, NaN where a value is missing.
        """
        if not len(rows):
            return np.empty(0, np.float32)
        margins: Floats32 = self.booster.inplace_predict(rows, predict_type="margin")
        return margins

    def scores(self, margins: Floats32) -> Floats:
        """Return calibrated probabilities of fraud, strictly increasing in the margin."""
        slope, intercept = self.manifest["calibration"]["slope"], self.manifest["calibration"]["intercept"]
        return calibrated(margins, slope, intercept)

    def contributions(self, rows: Floats32) -> Floats32:
        """Return exact SHAP values, rows x (features + bias); each row adds up to its margin."""
        values: Floats32 = self.booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
        return values


def save(folder: Path, model: Model, probe_rows: Floats32) -> None:
    """Write an artifact's files.

    Args:
        folder: the folder to write them to.
        model: the model to write.
        probe_rows: rows x features; a loaded model must reproduce their scores.
    """
    model.booster.save_model(folder / MODEL_FILE)
    (folder / MANIFEST_FILE).write_text(json.dumps(model.manifest, indent=2) + "\n")
    content = {
        "rows": [[None if np.isnan(value) else float(value) for value in row] for row in probe_rows],
        "scores": model.scores(model.margins(probe_rows)).tolist(),
    }
    (folder / PROBES_FILE).write_text(json.dumps(content) + "\n")


def load(channels: Channels, name: str = "model") -> Model:
    """Load the artifact of a channel, in any form that ``artifact.find`` accepts.

    Raises:
        InputError: a file is missing or broken, or the model does not reproduce the scores of its probes.
    """
    folder = find(channels, name)
    manifest = read_json(folder / MANIFEST_FILE, name)
    if missing := [key for key in REQUIRED_KEYS if key not in manifest]:
        raise InputError(f"channel '{name}': {MANIFEST_FILE} lacks {', '.join(missing)}; train again with this version")
    try:
        booster = xgboost.Booster(model_file=folder / MODEL_FILE)
    except xgboost.core.XGBoostError as error:
        raise InputError(f"channel '{name}': {MODEL_FILE} is missing or broken; train again") from error
    model = Model(booster, manifest)
    rows, expected = probes(folder, name)
    scores = model.scores(model.margins(rows))
    worst = float(np.abs(scores - expected).max(initial=0))
    if not worst <= PROBE_TOLERANCE:  # true for NaN, too
        raise InputError(
            f"channel '{name}': {model.version} does not reproduce its probes (a score differs by {worst:.2g}); it was "
            f"written by XGBoost {manifest['versions']['xgboost']}, this is {xgboost.__version__}; use the same"
        )
    return model
