"""Calibration keeps the ranking."""

from __future__ import annotations

import numpy as np

from fraudline.model.calibration import calibrated


def test_score_rises_with_the_margin():
    """Otherwise rankings by score and by margin would disagree."""
    scores = calibrated(np.linspace(-12, 12, 1001, dtype=np.float32), 1.3, -0.4)
    assert (np.diff(scores) > 0).all()
