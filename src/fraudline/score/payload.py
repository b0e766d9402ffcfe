"""Parse requests and render answers of the server in each content type, without HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

JSON, JSON_LINES, CSV = "application/json", "application/jsonlines", "text/csv"

Row = Sequence[float | None]


class RefusedError(ValueError):
    """A request that can't be answered; the message names the row and the reason."""


def media_type(header: str) -> str:
    """Return a header's media type without its parameters."""
    return header.partition(";")[0].strip().lower()


def parse(body: bytes, content_type: str, features: int) -> NDArray[np.float32]:
    """Parse a request into rows x features, NaN where a value is missing.

    Args:
        body: the body of the request.
        content_type: one of PARSERS.
        features: the number of values that each row must have.

    Raises:
        RefusedError: the body or one of its rows is broken.
    """
    rows = PARSERS[content_type](body)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != features:
            actual = len(row) if isinstance(row, list) else type(row).__name__
            raise RefusedError(f"row {number}: expected {features} features, got {actual}")
    try:
        values = np.array(rows, dtype=np.float32).reshape(len(rows), features)
    except (TypeError, ValueError) as error:
        raise RefusedError(f"features must be numbers or null: {error}") from error
    infinite = np.flatnonzero(np.isinf(values).any(axis=1))
    if len(infinite):
        raise RefusedError(f"row {int(infinite[0])}: features must be finite or null")
    return values


def _json(body: bytes) -> list[Any]:
    content = _loads(body)
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list):
        raise RefusedError('expected {"instances": [{"features": [...]}]}')
    return [_features(instance, number) for number, instance in enumerate(instances)]


def _json_lines(body: bytes) -> list[Any]:
    return [_features(_loads(line), number) for number, line in enumerate(body.splitlines()) if line.strip()]


def _csv(body: bytes) -> list[Any]:
    try:
        lines = list(csv.reader(io.StringIO(body.decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RefusedError(f"not CSV: {error}") from error
    return [[_number(cell, number) for cell in line] for number, line in enumerate(lines) if line]


def _features(instance: Any, number: int) -> Any:
    if not isinstance(instance, dict) or "features" not in instance:
        raise RefusedError(f'row {number}: expected {{"features": [...]}}')
    return instance["features"]


def _number(cell: str, row: int) -> float | None:
    try:
        return float(cell) if cell.strip() else None
    except ValueError:
        raise RefusedError(f"row {row}: a cell is not a number") from None


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"not JSON: {error}") from error


PARSERS: dict[str, Callable[[bytes], list[Any]]] = {JSON: _json, JSON_LINES: _json_lines, CSV: _csv}


def render(answers: list[dict[str, Any]], accept: str) -> bytes:
    """Render answers in a content type; a line of CSV has only the score, with all its digits."""
    if accept == CSV:
        return "".join(f"{answer['fraud_score']!r}\n" for answer in answers).encode()
    if accept == JSON_LINES:
        return b"".join(orjson.dumps(answer) + b"\n" for answer in answers)
    return orjson.dumps({"predictions": answers})
