"""Convert margins to probabilities with the calibration that ``train.calibration`` fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def calibrated(margins: NDArray[np.float32], slope: float, intercept: float) -> NDArray[np.float64]:
    """Return the probabilities of margins (log-odds) by Platt's sigmoid; strictly increasing for a positive slope.

    J. Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    return 1.0 / (1.0 + np.exp(-(slope * margins.astype(np.float64) + intercept)))
