"""The feature contract: the feature definitions behind a feature table, a history or a model.

Two artifacts are compatible if their contracts are equal. A feature table carries its contract in ``contract.json``;
histories and models carry the same keys in their manifests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from functools import cache
from typing import Any, TypedDict

from fraudline.catalog.features import FEATURES, NAMES

CONTRACT_FILE = "contract.json"
# The parts of each definition, in the order in which ``definitions`` lists them.
PARTS = ("entity", "aggregate", "constants", "window", "unit")


class ContractFile(TypedDict):
    """Content of ``contract.json``.

    Attributes:
        contract: the hash of the definitions.
        definitions: the PARTS of each feature, by feature name.
        features: the names of the feature columns, in order.
        first: the table's first day, such as 2026-01-31.
        end: the day after its last day.
    """

    contract: str
    definitions: dict[str, list[Any]]
    features: list[str]
    first: str
    end: str


def contract_file(first: date, end: date) -> ContractFile:
    """Return the content of ``contract.json`` for a feature table of the days [first, end)."""
    return {
        "contract": contract(),
        "definitions": definitions(),
        "features": list(NAMES),
        "first": first.isoformat(),
        "end": end.isoformat(),
    }


@cache  # called for every key of the history's DynamoDB table
def contract() -> str:
    """Return the hash of the ordered feature definitions, as 12 hexadecimal digits."""
    ordered = [[name, *parts] for name, parts in definitions().items()]
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()[:12]


def definitions() -> dict[str, list[Any]]:
    """Return the PARTS of every feature, by feature name; descriptions are not part of the contract."""
    return {
        feature.name: [
            feature.entity,
            type(feature.aggregate).__name__,
            asdict(feature.aggregate),
            feature.window,
            feature.unit,
        ]
        for feature in FEATURES
    }


def difference(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Describe how a contract differs from the expected one.

    Args:
        actual: a ContractFile, or a manifest, which has the same keys ``contract`` and ``definitions``.
        expected: likewise.
    """
    actual_parts, expected_parts = actual["definitions"], expected["definitions"]
    reasons = [f"{name} is missing" for name in expected_parts if name not in actual_parts]
    reasons += [f"{name} is not expected" for name in actual_parts if name not in expected_parts]
    for name in expected_parts:
        if name in actual_parts:
            reasons += _changed_parts(name, actual_parts[name], expected_parts[name])
    reason = "; ".join(reasons) or "the features are in another order"
    return f"feature contract {actual['contract']}, expected {expected['contract']}: {reason}"


def _changed_parts(name: str, actual: list[Any], expected: list[Any]) -> list[str]:
    parts = zip(PARTS, actual, expected, strict=True)
    return [f"{name} has {part} {got}, expected {wanted}" for part, got, wanted in parts if got != wanted]
