"""Scores from an endpoint: the server of this image or any that answers as it does, over HTTP or through SageMaker."""

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
TRIES, LONGEST_WAIT = 6, 5.0
TIMEOUT = 60  # seconds; an endpoint must answer within them
_ROW_MAY_BE_BROKEN = (400, 413, 422)

Body = str
Invoke = Callable[[Body], tuple[int, str]]
Rows = list[list[float | None]]


class Refused(NamedTuple):
    """A row that the endpoint does not score, and why."""

    transaction_id: str
    reason: str


class Scored(NamedTuple):
    """Scores (schema SCORES) and the rows that have none."""

    scores: pl.DataFrame
    refused: list[Refused]


def score(endpoint: str, ids: pl.Series, rows: NDArray[np.float32], batch: int, *, max_refused: float = 0.0) -> Scored:
    """Score rows in batches; a batch that is refused is halved until only its broken rows are left out.

    Args:
        endpoint: http://…, https://… or sagemaker://NAME.
        ids: transaction ids of the rows.
        rows: rows x features, NaN where a value is missing.
        batch: rows a request.
        max_refused: a larger share of broken rows is an error.

    Raises:
        InputError: the endpoint refuses too many rows, or can't be reached.
        TemporaryError: it is busy, or fails.
    """
    invoke = transport(endpoint)
    answers: list[dict[str, Any]] = []
    refused: list[Refused] = []
    # Outermost first, so that the rows stay in their order.
    waiting = [(first, min(first + batch, len(rows))) for first in range(0, len(rows), batch)][::-1]
    while waiting:
        first, end = waiting.pop()
        status, text = _answered(endpoint, invoke, _listed(rows[first:end]))
        if status == 200:
            answered = zip(ids[first:end], json.loads(text)["predictions"], strict=True)
            answers += [{"transaction_id": id_, **answer} for id_, answer in answered]
        elif end - first > 1:
            middle = (first + end) // 2
            waiting += [(middle, end), (first, middle)]
        else:
            refused.append(Refused(ids[first], text[:300]))
            if len(refused) > max_refused * len(rows):
                raise InputError(
                    f"--endpoint {endpoint} refused {len(refused)} of {len(rows)} rows or more, the last with status "
                    f"{status}: {text[:300]}; {max_refused:.1%} are allowed"
                )
    return Scored(pl.DataFrame(answers, schema=dict(SCORES)), refused)


def transport(endpoint: str) -> Invoke:
    """What sends one body to an endpoint and gives the status and the text of its answer; OSError if there is none."""
    if endpoint.startswith(SAGEMAKER):
        return lambda body: _invoke_endpoint(endpoint.removeprefix(SAGEMAKER), body)
    return lambda body: request(endpoint, "POST", "/invocations", body)


def _listed(rows: NDArray[np.float32]) -> Rows:
    return [[None if np.isnan(value) else float(value) for value in row] for row in rows]


def _answered(endpoint: str, invoke: Invoke, rows: Rows) -> tuple[int, str]:
    """The endpoint's answer, 200 or that a row may be broken, in as many tries as it takes."""
    body = json.dumps({"instances": [{"features": row} for row in rows]})
    error: Exception = TemporaryError(f"--endpoint {endpoint} was not asked")
    for attempt in range(TRIES):
        if attempt:
            time.sleep(random.uniform(0.5, 1.0) * min(LONGEST_WAIT, 0.1 * 2**attempt))  # noqa: S311 - no secret
        try:
            status, text = invoke(body)
        except OSError as unreached:
            error = InputError(f"--endpoint {endpoint} does not answer ({unreached}); check that it is in service")
            continue
        if status == 200 or status in _ROW_MAY_BE_BROKEN:
            return status, text
        if status < 500 and status != 429:
            raise InputError(f"--endpoint {endpoint} refused a batch with status {status}: {text[:300]}")
        error = TemporaryError(f"--endpoint {endpoint} failed with status {status}: {text[:300]}; run the stage again")
    raise error


def _invoke_endpoint(name: str, body: Body) -> tuple[int, str]:
    """SageMaker's answer as the status and text that the container gave, or SageMaker itself."""
    runtime = aws.client("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType="application/json", Accept="application/json"
        )
    except runtime.exceptions.ModelError as error:
        return error.response["OriginalStatusCode"], error.response["OriginalMessage"]
    except runtime.exceptions.ClientError as error:
        # SageMaker's own 400 means the endpoint or the caller; a row is judged by the container alone.
        if aws_errors.is_temporary(error):
            return 503, str(error)
        raise InputError(f"--endpoint {SAGEMAKER}{name}: {error}; check its name, region and status") from error
    return 200, answer["Body"].read().decode()


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
