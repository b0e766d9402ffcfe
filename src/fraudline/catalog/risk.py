"""Risk levels of scores, priorities of alerts, and the one comparison of a score with a threshold."""

from __future__ import annotations

from typing import Protocol, TypeVar

ResultT_co = TypeVar("ResultT_co", covariant=True)

LOW, MEDIUM, HIGH = "LOW", "MEDIUM", "HIGH"
# A level holds the scores above its bound, up to the next level's; LOW holds the rest.
BOUNDS = {HIGH: 0.8, MEDIUM: 0.5}

# An alert is URGENT by its expected loss, whatever its risk level.
URGENT, NORMAL = "URGENT", "NORMAL"


class Comparable(Protocol[ResultT_co]):
    """A score or scores: a float, a NumPy array or a polars expression."""

    def __gt__(self, threshold: float, /) -> ResultT_co:
        """Compare each score with a number."""


def above(scores: Comparable[ResultT_co], threshold: float) -> ResultT_co:
    """Return True for each score above the threshold; a score equal to it is not above."""
    return scores > threshold
