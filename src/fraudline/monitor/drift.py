"""Drift of a day's features since training, measured by the population stability index (PSI)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.model import artifact
from fraudline.model.feature_table import read_features
from fraudline.model.histograms import psi
from fraudline.runtime.channels import MANIFEST_FILE, Channels, read_json

# The usual bounds of the PSI in credit scoring.
PSI_WATCH, PSI_SHIFTED = 0.1, 0.25

Verdict = Literal["stable", "as usual", "watch", "shifted"]


def drift(channels: Channels) -> pl.DataFrame:
    """Measure the day's features against the histograms in the champion's manifest; see ``measure``."""
    histograms = read_json(artifact.find(channels, "reference") / MANIFEST_FILE, "reference")["histograms"]
    _, values = read_features(channels, "features", list(histograms))
    return measure(values, histograms)


def measure(values: NDArray[np.float32], histograms: dict[str, Any]) -> pl.DataFrame:
    """Measure how far each feature is from its distribution in training.

    Args:
        values: rows x features, in the order of the histograms, NaN where a value is missing.
        histograms: the histograms in the model's manifest, by feature.

    Returns:
        One row per feature, sorted by how far its PSI is above the usual one: feature, psi, usual (95 % of
        the single training days were below it), missing, missing_reference (shares of all rows).
    """
    rows = []
    for column, (name, reference) in enumerate(histograms.items()):
        of_feature = values[:, column]
        rows.append(
            {
                "feature": name,
                "psi": psi(of_feature, reference),
                "usual": reference["usual_psi"],
                "missing": float(np.isnan(of_feature).mean()),
                "missing_reference": reference["missing"],
            }
        )
    above_usual = pl.col("psi") - pl.col("usual")
    return pl.DataFrame(rows).sort([above_usual, "feature"], descending=[True, False])


def largest_shift(measured: pl.DataFrame) -> float:
    """Return the largest PSI among features above their usual PSI, 0 if no feature is.

    It exceeds PSI_SHIFTED exactly if the verdict on some feature is "shifted", so the alarm on it agrees with
    the report.
    """
    above_usual = measured.filter(pl.col("psi") > pl.col("usual")).get_column("psi")
    return float(above_usual.max() or 0.0)  # type: ignore[arg-type]


def verdict(psi: float, usual: float) -> Verdict:
    """Judge the PSI of one feature on one day.

    A single day differs from the whole of training even without drift: ``is_weekend`` has one value all day,
    which gives a PSI of 2 to 7. So a PSI up to the usual one is no drift, however large it is.
    """
    if psi <= PSI_WATCH:
        return "stable"
    if psi <= usual:
        return "as usual"
    return "watch" if psi <= PSI_SHIFTED else "shifted"
