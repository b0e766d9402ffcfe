"""Scores over HTTP, from the server of this image or any that answers as it does."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.errors import InputError
from fraudline.schema import SCORES

TRIES = 4
TIMEOUT = 60  # seconds; an endpoint must answer within them


def score(endpoint: str, ids: pl.Series, rows: NDArray[np.float32], batch: int) -> pl.DataFrame:
    """Score rows in batches (schema SCORES).

    Raises:
        InputError: the server refuses the rows, or can't be reached.
    """
    answers = (answer for part in _batches(rows, batch) for answer in _invoke(endpoint, part))
    scored = [{"transaction_id": id_, **answer} for id_, answer in zip(ids, answers, strict=True)]
    return pl.DataFrame(scored, schema=dict(SCORES))


def _batches(rows: NDArray[np.float32], batch: int) -> Iterator[list[list[float | None]]]:
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        yield [[None if np.isnan(value) else float(value) for value in row] for row in part]


def _invoke(endpoint: str, rows: list[list[float | None]]) -> list[dict[str, Any]]:
    body = json.dumps({"instances": [{"features": row} for row in rows]})
    for attempt in range(TRIES):
        try:
            status, text = request(endpoint, "POST", "/invocations", body)
        except OSError as error:
            status, text = 503, str(error)
        if status == 200:
            predictions: list[dict[str, Any]] = json.loads(text)["predictions"]
            return predictions
        if status < 500:
            raise InputError(f"--endpoint {endpoint} refused a batch with status {status}: {text[:300]}")
        if attempt + 1 < TRIES:
            time.sleep(0.1 * 2**attempt)
    raise InputError(f"--endpoint {endpoint} does not answer ({status}: {text[:300]}); check that it is in service")


def request(endpoint: str, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """One HTTP request; status and text."""
    address = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=TIMEOUT)
    try:
        connection.request(method, address.path.rstrip("/") + path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
