"""Feature contracts: what the file holds, and how a difference between two is described."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fraudline.catalog.contract import contract, contract_file, difference
from fraudline.catalog.features import NAMES

COUNT = ["customer", "Count", {}, 3600, "count"]
EXPECTED = {"a": COUNT, "b": ["merchant", "Risk", {"share": 0.01}, 86400, "share"]}


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        ({"a": COUNT}, "b is missing"),
        (EXPECTED | {"c": COUNT}, "c is not expected"),
        (EXPECTED | {"a": ["customer", "Count", {}, 7200, "count"]}, "a has window 7200, expected 3600"),
        (
            EXPECTED | {"b": ["merchant", "Risk", {"share": 0.02}, 86400, "share"]},
            "b has constants {'share': 0.02}, exp",
        ),
        (dict(reversed(EXPECTED.items())), "the features are in another order"),
    ],
    ids=["missing", "more", "window", "constants", "order"],
)
def test_difference_names_the_feature_and_the_part(actual: dict[str, Any], reason: str):
    text = difference({"contract": "x", "definitions": actual}, {"contract": "y", "definitions": EXPECTED})
    assert text.startswith(f"feature contract x, expected y: {reason}")


def test_contract_file_has_the_documented_keys_in_order():
    """Models, histories and readers of other versions compare these keys."""
    file = contract_file(date(2026, 1, 31), date(2026, 2, 1))
    assert list(file) == ["contract", "definitions", "features", "first", "end"]
    assert (file["contract"], file["features"]) == (contract(), list(NAMES))
    assert (file["first"], file["end"]) == ("2026-01-31", "2026-02-01")
