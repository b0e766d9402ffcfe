"""A client for endpoints that run this image's server, or a compatible one, over HTTP or through SageMaker."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fraudline.catalog.errors import InputError, TemporaryError
from fraudline.catalog.schema import SCORES
from fraudline.runtime import aws, aws_errors

SAGEMAKER = "sagemaker://"
TRIES, LONGEST_WAIT = 6, 5.0  # seconds
TIMEOUT = 60  # seconds; SageMaker's own limit for an answer
SHOWN_CHARACTERS = 300  # length of answers that errors quote
# Statuses that a broken row may cause; the endpoint or the caller causes all others.
_ROW_MAY_BE_BROKEN = (400, 413, 422)

Body = str
Answer = tuple[int, str]  # status and text
Invoke = Callable[[Body], Answer]
Rows = list[list[float | None]]


class Refused(NamedTuple):
    """A row that the endpoint refuses to score, and the reason that it gives."""

    transaction_id: str
    reason: str


class Scored(NamedTuple):
    """Scores (schema SCORES), and the rows that have none because they were refused."""

    scores: pl.DataFrame
    refused: list[Refused]


def score(endpoint: str, ids: pl.Series, rows: NDArray[np.float32], batch: int, *, max_refused: float = 0.0) -> Scored:
    """Score rows in batches; a refused batch is halved until only its broken rows are left out.

    Args:
        endpoint: http://…, https://… or sagemaker://NAME.
        ids: transaction ids of the rows.
        rows: rows x features, NaN where a value is missing.
        batch: rows per request.
        max_refused: a larger share of broken rows is an error.

    Raises:
        InputError: the endpoint refuses too many rows, or can't be reached.
        TemporaryError: the endpoint is busy, or fails.
    """
    invoke = _transport(endpoint)
    answers: list[dict[str, Any]] = []
    refused: list[Refused] = []
    # A stack of batches, the first on top, so that the scores stay in the order of the rows.
    waiting = [(first, min(first + batch, len(rows))) for first in range(0, len(rows), batch)][::-1]
    while waiting:
        first, end = waiting.pop()
        status, text = _try_repeatedly(endpoint, invoke, _as_lists(rows[first:end]))
        if status == 200:
            predictions = json.loads(text)["predictions"]
            answers += [
                {"transaction_id": id_, **prediction}
                for id_, prediction in zip(ids[first:end], predictions, strict=True)
            ]
        elif end - first > 1:
            middle = (first + end) // 2
            waiting += [(middle, end), (first, middle)]
        else:
            refused.append(Refused(ids[first], text[:SHOWN_CHARACTERS]))
            if len(refused) > max_refused * len(rows):
                raise InputError(
                    f"--endpoint {endpoint} refused {len(refused)} of {len(rows)} rows or more, the last with status "
                    f"{status}: {text[:SHOWN_CHARACTERS]}; {max_refused:.1%} are allowed"
                )
    return Scored(pl.DataFrame(answers, schema=dict(SCORES)), refused)


def _transport(endpoint: str) -> Invoke:
    """Return a function that sends one body to the endpoint; it raises OSError if nothing answers."""
    if endpoint.startswith(SAGEMAKER):
        return lambda body: _invoke_endpoint(endpoint.removeprefix(SAGEMAKER), body)
    return lambda body: request(endpoint, "POST", "/invocations", body)


def _as_lists(rows: NDArray[np.float32]) -> Rows:
    return [[None if np.isnan(value) else float(value) for value in row] for row in rows]


def _try_repeatedly(endpoint: str, invoke: Invoke, rows: Rows) -> Answer:
    """Send a batch until it gets an answer that is final: scores, or a status that a broken row may have caused.

    Raises:
        InputError: the endpoint can't be reached, or does not accept the request.
        TemporaryError: the endpoint was busy or failed in each of TRIES attempts.
    """
    body = json.dumps({"instances": [{"features": row} for row in rows]})
    error: Exception = TemporaryError(f"--endpoint {endpoint} was not called")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * min(LONGEST_WAIT, 0.1 * 2**attempt))  # noqa: S311 - no secret
        try:
            status, text = invoke(body)
        except OSError as unreached:
            error = InputError(f"--endpoint {endpoint} does not answer ({unreached}); check that it is in service")
            continue
        shown = text[:SHOWN_CHARACTERS]
        if status == 200 or status in _ROW_MAY_BE_BROKEN:
            return status, text
        if status < 500 and status != 429:
            raise InputError(f"--endpoint {endpoint} refused a batch with status {status}: {shown}")
        error = TemporaryError(f"--endpoint {endpoint} failed with status {status}: {shown}; run the stage again")
    raise error


def _invoke_endpoint(name: str, body: Body) -> Answer:
    """Return the answer of a SageMaker endpoint's container, or 503 if SageMaker itself is busy.

    Raises:
        InputError: SageMaker does not accept the request.
    """
    runtime = aws.client("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType="application/json", Accept="application/json"
        )
    except runtime.exceptions.ModelError as error:
        return error.response["OriginalStatusCode"], error.response["OriginalMessage"]
    except runtime.exceptions.ClientError as error:
        # Not a broken row: only the container checks rows, so an error of SageMaker itself has another cause.
        if aws_errors.is_temporary(error):
            return 503, str(error)
        raise InputError(f"--endpoint {SAGEMAKER}{name}: {error}; check its name, region and status") from error
    return 200, answer["Body"].read().decode()


def request(endpoint: str, method: str, path: str, body: str | None = None) -> Answer:
    """Send one HTTP request below an endpoint's URL; return status and text."""
    url = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT)
    try:
        connection.request(method, url.path.rstrip("/") + path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
