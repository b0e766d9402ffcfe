"""How far a day's features have moved from those the model learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

_FLOOR = 1e-4  # a share that is never zero, so that an empty bin costs much and not everything


def drift(features: pl.DataFrame, histograms: dict[str, Any]) -> pl.DataFrame:
    """Population stability index of each feature against the training histograms, the largest first.

    Args:
        features: one column a feature, null where missing.
        histograms: of the model's manifest: edges, shares of all rows, share missing.

    Returns:
        feature, psi, missing, missing_reference (shares of all rows).
    """
    rows = [
        {"feature": name, **_compare(features.get_column(name).to_numpy(), histogram)}
        for name, histogram in histograms.items()
    ]
    return pl.DataFrame(rows).sort(["psi", "feature"], descending=[True, False])


def _compare(values: Any, histogram: dict[str, Any]) -> dict[str, float]:
    edges = np.array(histogram["edges"])
    known = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    missing = 1 - len(known) / len(values)
    ours = np.maximum(np.append(counts / len(values), missing), _FLOOR)
    theirs = np.maximum(np.append(histogram["shares"], histogram["missing"]), _FLOOR)
    psi = float(np.sum((ours - theirs) * np.log(ours / theirs)))
    return {"psi": psi, "missing": missing, "missing_reference": histogram["missing"]}
