"""Fit the calibration that ``model.calibration`` applies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fraudline.catalog.errors import InputError


def platt(margins: NDArray[np.float32], labels: NDArray[np.int8]) -> dict[str, float | str]:
    """Fit Platt's sigmoid, which maps margins to probabilities, without regularization.

    Args:
        margins: log-odds of rows that the trees were not fitted to.
        labels: 1 for fraud, else 0.

    Returns:
        ``method``, ``slope`` and ``intercept``.

    Raises:
        InputError: the probability would not increase with the margin, so the model has learned nothing.
    """
    fit = LogisticRegression(C=np.inf).fit(margins.astype(np.float64).reshape(-1, 1), labels)
    # Rounded, because digits beyond the solver's tolerance differ between C libraries, and so would the scores.
    slope, intercept = (float(f"{value:.9g}") for value in (fit.coef_[0, 0], fit.intercept_[0]))
    if slope <= 0:
        raise InputError(
            "channel 'validation': frauds do not score above the rest, so the model can't be calibrated; "
            "check that the labels belong to these transactions"
        )
    return {"method": "platt", "slope": slope, "intercept": intercept}
