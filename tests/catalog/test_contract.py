"""What differs between two feature contracts, told so that whoever reads it knows what to look for."""

from __future__ import annotations

from typing import Any

import pytest

from fraudline.catalog.contract import difference

COUNT = ["customer", "Count", {}, 3600, "count"]
OURS = {"a": COUNT, "b": ["merchant", "Risk", {"share": 0.01}, 86400, "share"]}


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"a": COUNT}, "b is missing"),
        (OURS | {"c": COUNT}, "c is there, which is not expected"),
        (OURS | {"a": ["customer", "Count", {}, 7200, "count"]}, "a has window 7200, expected 3600"),
        (OURS | {"b": ["merchant", "Risk", {"share": 0.02}, 86400, "share"]}, "b has constants {'share': 0.02}, exp"),
        (dict(reversed(OURS.items())), "the features stand in another order"),
    ],
    ids=["missing", "more", "window", "constants", "order"],
)
def test_a_difference_names_the_feature_and_the_part(theirs: dict[str, Any], told: str):
    text = difference({"contract": "x", "definitions": theirs}, {"contract": "y", "definitions": OURS})
    assert text.startswith(f"feature contract x, expected y: {told}")
