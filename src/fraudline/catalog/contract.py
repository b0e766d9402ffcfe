"""The feature contract, as histories, feature tables and models bear it: what differs between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = ("entity", "aggregate", "constants", "window", "unit")


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """In words, how a contract differs from the one that is expected.

    Args:
        theirs: with ``contract``, the hash, and ``definitions``, the PARTS of each feature by its name.
        ours: the same.
    """
    theirs_by, ours_by = theirs["definitions"], ours["definitions"]
    told = [f"{name} is missing" for name in ours_by if name not in theirs_by]
    told += [f"{name} is there, which is not expected" for name in theirs_by if name not in ours_by]
    for name in ours_by:
        parts = zip(PARTS, theirs_by.get(name, ours_by[name]), ours_by[name], strict=True)
        told += [f"{name} has {part} {old}, expected {new}" for part, old, new in parts if old != new]
    reason = "; ".join(told) or "the features stand in another order"
    return f"feature contract {theirs['contract']}, expected {ours['contract']}: {reason}"
