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

# The customary bounds of the PSI in credit scoring.
PSI_WATCH, PSI_SHIFTED = 0.1, 0.25

Verdict = Literal["stable", "as usual", "watch", "shifted"]


def drift(channels: Channels) -> pl.DataFrame:
    """Measure the day's features against the histograms in the champion's manifest; see ``measure``."""
    histograms = read_json(artifact.find(channels, "reference") / MANIFEST_FILE, "reference")["histograms"]
    _, values = read_features(channels, "features", list(histograms))
    return measure(values, histograms)


def measure(values: NDArray[np.float32], histograms: dict[str, Any]) -> pl.DataFrame:
    """Measure how far each feature has moved from its distribution in training.

    Args:
        values: rows x features, in the order of the histograms, NaN where a value is missing.
        histograms: those of the model's manifest, by feature.

    Returns:
        One row per feature, the furthest above its usual PSI first: feature, psi, usual (95 % of
        the single training days stayed below it), missing, missing_reference (shares of all rows).
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

    It exceeds PSI_SHIFTED exactly where the verdict on some feature is "shifted", so an alarm on it
    and the report agree.
    """
    above_usual = measured.filter(pl.col("psi") > pl.col("usual")).get_column("psi")
    return float(above_usual.max() or 0.0)  # type: ignore[arg-type]


def verdict(psi: float, usual: float) -> Verdict:
    """Judge the PSI of one feature on one day.

    A single day differs from the whole of training by nature: ``is_weekend`` has one value all day,
    and so a PSI of 2 to 7. A PSI up to the usual one is therefore no drift, however large.
    """
    if psi <= PSI_WATCH:
        return "stable"
    if psi <= usual:
        return "as usual"
    return "watch" if psi <= PSI_SHIFTED else "shifted"
