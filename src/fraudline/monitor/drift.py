"""How far a day's features have moved from those the model learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from fraudline.model.histograms import psi

# Up to the first a feature is stable; above the second it has shifted.
PSI_WATCH, PSI_SHIFTED = 0.1, 0.25


def drift(features: pl.DataFrame, histograms: dict[str, Any]) -> pl.DataFrame:
    """Each feature's population stability index against training, the furthest above its usual one first.

    Args:
        features: one column a feature, null where missing.
        histograms: of the model's manifest.

    Returns:
        feature, psi, usual, missing, missing_reference (shares of all rows).
    """
    rows = []
    for name, reference in histograms.items():
        values = features.get_column(name).to_numpy()
        missing = float(np.isnan(values).mean())
        usual = {"usual": reference["usual_psi"], "missing": missing, "missing_reference": reference["missing"]}
        rows.append({"feature": name, "psi": psi(values, reference), **usual})
    above = pl.col("psi") - pl.col("usual")
    return pl.DataFrame(rows).sort([above, "feature"], descending=[True, False])


def furthest(shifts: pl.DataFrame) -> float:
    """The largest index of ``drift`` among features that are further off than usual; 0 where none is.

    Above PSI_SHIFTED exactly where the verdict on some feature is "shifted".
    """
    above = shifts.filter(pl.col("psi") > pl.col("usual")).get_column("psi")
    return float(above.max() or 0.0)  # type: ignore[arg-type]


def verdict(measured: float, usual: float) -> str:
    """What a stability index means, in a word: stable, watch or shifted."""
    if measured <= max(PSI_WATCH, usual):
        return "stable"
    return "watch" if measured <= max(PSI_SHIFTED, usual) else "shifted"
