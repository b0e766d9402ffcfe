"""Histograms of features in training, and the distance (PSI) of other rows from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20
USUAL_SHARE = 0.95
_FLOOR = 1e-4  # smallest share of a bin: it keeps the logarithm finite, so an empty bin counts much, but not infinitely

Histogram = dict[str, Any]
Shares = NDArray[np.float64]


def histogram(values: NDArray[np.float32], days: NDArray[np.int64], weights: NDArray[np.float32]) -> Histogram:
    """Return the histogram of a feature, with bins between its quantiles.

    Args:
        values: the values of the training rows, NaN where missing.
        days: the day number of each row.
        weights: the number of rows that each row stands for.

    Returns:
        ``edges`` between the bins; ``shares`` of all rows in each bin; the share ``missing``; and
        ``usual_psi``, the PSI that 95 % of single training days stay below. A single day differs from the
        whole of training even without drift: it is, for example, either on a weekend or not.
    """
    present = values[~np.isnan(values)]
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    edges = np.unique(np.quantile(present, inner)) if len(present) else np.empty(0)
    shares = _shares(values, weights, edges)
    daily = [_psi(_shares(values[days == day], weights[days == day], edges), shares) for day in np.unique(days)]
    return {
        "edges": edges.tolist(),
        "shares": shares[:-1].tolist(),
        "missing": float(shares[-1]),
        "usual_psi": float(np.quantile(daily, USUAL_SHARE)),
    }


def psi(values: NDArray[np.float32], reference: Histogram) -> float:
    """Return the population stability index (PSI) of a feature's values against its histogram in training."""
    shares = _shares(values, np.ones(len(values), np.float32), np.array(reference["edges"]))
    return _psi(shares, np.append(reference["shares"], reference["missing"]))


def _shares(values: NDArray[np.float32], weights: NDArray[np.float32], edges: NDArray[Any]) -> Shares:
    """Return the share of rows in each bin, followed by the share of missing values."""
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.bincount(bins, weights, minlength=len(edges) + 2)
    return counts / max(float(counts.sum()), 1.0)


def _psi(actual: Shares, expected: Shares) -> float:
    """Return the sum over bins of (actual - expected) x ln(actual / expected)."""
    actual, expected = np.maximum(actual, _FLOOR), np.maximum(expected, _FLOOR)
    return float(np.sum((actual - expected) * np.log(actual / expected)))
