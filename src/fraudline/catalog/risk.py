"""Risk levels of scores, priorities of alerts, and the one comparison of scores with a threshold."""

from __future__ import annotations

from typing import Protocol, TypeVar

ResultT_co = TypeVar("ResultT_co", covariant=True)

LOW, MEDIUM, HIGH = "LOW", "MEDIUM", "HIGH"
# A score has the highest level whose bound it exceeds, otherwise LOW.
BOUNDS = {HIGH: 0.8, MEDIUM: 0.5}

# The expected loss alone decides whether an alert is URGENT, not the risk level.
URGENT, NORMAL = "URGENT", "NORMAL"


class Comparable(Protocol[ResultT_co]):
    """One score or several: a float, a NumPy array or a polars expression."""

    def __gt__(self, threshold: float, /) -> ResultT_co:
        """Compare each score with a number."""


def above(scores: Comparable[ResultT_co], threshold: float) -> ResultT_co:
    """Return True for each score above the threshold; a score equal to it is not above."""
    return scores > threshold
