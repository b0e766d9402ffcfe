"""What the features looked like in training, and how far other rows are from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20
USUAL_SHARE = 0.95
_FLOOR = 1e-4  # a share that is never zero, so that an empty bin costs much and not everything

Histogram = dict[str, Any]


def histogram(values: NDArray[np.float32], days: NDArray[np.int64], weights: NDArray[np.float32]) -> Histogram:
    """A feature by its own quantiles.

    Args:
        values: of the training rows, NaN where missing.
        days: the day of each row.
        weights: how many rows each stands for.

    Returns:
        ``edges`` between the bins; ``shares`` of all rows in each; the share ``missing``; and
        ``usual_psi``, which 95 % of the single days stay below: one day is a weekend or is not,
        and that is no drift.
    """
    known = values[~np.isnan(values)]
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(known, inner)) if len(known) else np.empty(0)
    shares = _shares(values, weights, edges)
    daily = [_distance(_shares(values[days == day], weights[days == day], edges), shares) for day in np.unique(days)]
    return {
        "edges": edges.tolist(),
        "shares": shares[:-1].tolist(),
        "missing": float(shares[-1]),
        "usual_psi": float(np.quantile(daily, USUAL_SHARE)),
    }


def psi(values: NDArray[np.float32], reference: Histogram) -> float:
    """Population stability index of a feature's values against its histogram."""
    shares = _shares(values, np.ones(len(values), np.float32), np.array(reference["edges"]))
    return _distance(shares, np.append(reference["shares"], reference["missing"]))


def _shares(values: NDArray[np.float32], weights: NDArray[np.float32], edges: NDArray[Any]) -> NDArray[np.float64]:
    """Shares of all rows in each bin, and of the missing ones last."""
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.bincount(bins, weights, minlength=len(edges) + 2)
    return counts / max(float(counts.sum()), 1.0)


def _distance(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    ours, theirs = np.maximum(ours, _FLOOR), np.maximum(theirs, _FLOOR)
    return float(np.sum((ours - theirs) * np.log(ours / theirs)))
