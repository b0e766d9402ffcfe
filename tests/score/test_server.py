"""The server as SageMaker hosting calls it: its rules in process, and once for real over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudline.catalog.errors import InputError
from fraudline.model.model import Model
from fraudline.score import client, risk
from fraudline.score.local_server import local_server
from fraudline.score.server import MAX_BODY, Application
from tests.artifacts import ROWS


def call(
    model: Model, method: str, path: str, body: bytes = b"", content_type: str = "application/json", accept: str = "*/*"
) -> tuple[int, str, bytes]:
    sent: list[dict[str, Any]] = []
    scope = {
        "method": method,
        "path": path,
        "headers": [(b"Content-Type", content_type.encode()), (b"Accept", accept.encode())],
    }
    half = len(body) // 2
    parts = [{"body": body[:half], "more_body": True}, {"body": body[half:], "more_body": False}]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Application(model)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert int(headers["content-length"]) == len(sent[1]["body"])
    return sent[0]["status"], headers["content-type"], sent[1]["body"]


def instances(rows: Any) -> bytes:
    return json.dumps({"instances": [{"features": list(row)} for row in rows]}).encode()


def scores(model: Model, rows: np.ndarray) -> list[float]:
    return model.scores(model.margins(rows)).tolist()


def test_ping_is_healthy_once_the_model_is_loaded(model: Model):
    status, _, body = call(model, "GET", "/ping")
    assert status == 200
    assert json.loads(body)["model_version"] == "v2026-02-01"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_answered_with_one_prediction_per_row(model: Model, content_type: str):
    status, _, body = call(model, "POST", "/invocations", instances(ROWS[:5].tolist()), content_type)
    predictions = json.loads(body)["predictions"]
    assert status == 200
    assert [answer["fraud_score"] for answer in predictions] == scores(model, ROWS[:5])
    assert set(predictions[0]) >= {"fraud_score", "confidence", "risk_level", "reasons", "margin", "model_version"}


def test_csv_and_json_lines_are_answered_line_by_line(model: Model):
    csv = "".join(",".join(str(value) for value in row) + "\n" for row in ROWS[:5].tolist()).encode()
    lines = "".join(json.dumps({"features": row}) + "\n" for row in ROWS[:5].tolist()).encode()
    _, _, as_csv = call(model, "POST", "/invocations", csv, "text/csv; charset=utf-8")
    _, _, as_lines = call(model, "POST", "/invocations", lines, "application/jsonlines")
    assert [float(line) for line in as_csv.splitlines()] == scores(model, ROWS[:5])
    assert [json.loads(line)["fraud_score"] for line in as_lines.splitlines()] == scores(model, ROWS[:5])


def test_accept_decides_the_content_type_of_the_answer(model: Model):
    status, content_type, body = call(model, "POST", "/invocations", instances(ROWS[:1].tolist()), accept="text/csv")
    assert (status, content_type) == (200, "text/csv")
    assert float(body) == scores(model, ROWS[:1])[0]


def test_missing_value_is_null_in_json_and_empty_in_csv(model: Model):
    row = np.array([[np.nan, 1.0, 2.0]], np.float32)
    for body, content_type in ((instances([[None, 1.0, 2.0]]), "application/json"), (b",1.0,2.0", "text/csv")):
        _, _, answer = call(model, "POST", "/invocations", body, content_type, accept="text/csv")
        assert float(answer) == scores(model, row)[0]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (instances([[1.0, 2.0]]), "application/json", 400, "row 0: expected 3 features, got 2"),
        (instances([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]), "application/json", 400, "row 1: expected 3 features"),
        (instances([[1.0, "x", 3.0]]), "application/json", 400, "must be numbers or null"),
        (b'{"instances": [{"features": [1, 2, 1e999]}]}', "application/json", 400, ""),
        (b"{", "application/json", 400, "not JSON"),
        (b"[1, 2, 3]", "application/json", 400, 'expected {"instances"'),
        (b'{"instances": [1]}', "application/json", 400, "row 0: expected"),
        (b"1,x,3", "text/csv", 400, "row 0: a cell is not a number"),
        (b"\xff\xfe", "text/csv", 400, "not CSV"),
        (b"x", "application/x-npy", 415, "application/x-npy"),
        (b"x" * (MAX_BODY + 1), "text/csv", 413, "send fewer rows"),
    ],
)
def test_broken_request_is_refused_with_row_and_reason(
    model: Model, body: bytes, content_type: str, status: int, reason: str
):
    actual, _, answer = call(model, "POST", "/invocations", body, content_type)
    assert actual == status
    assert reason in json.loads(answer)["error"]


def test_no_rows_are_204_and_an_unknown_accept_is_406(model: Model):
    assert call(model, "POST", "/invocations", b"", "text/csv")[0] == 204
    assert call(model, "POST", "/invocations", instances(ROWS[:1].tolist()), accept="image/png")[0] == 406


def test_other_paths_are_404_and_other_methods_405(model: Model):
    assert call(model, "GET", "/")[0] == 404
    assert call(model, "GET", "/invocations")[0] == 405


@pytest.mark.integration
def test_scores_over_http_equal_scores_in_process(artifact: Path, model: Model):
    """Two ways to score one day must not give two answers."""
    ids = pl.Series([f"t{number}" for number in range(len(ROWS))])
    with local_server(artifact) as endpoint:
        served = client.score(endpoint, ids, ROWS, batch=64).scores
    assert served.equals(risk.score(model, ids, ROWS))


@pytest.mark.integration
def test_unreachable_endpoint_is_an_input_error():
    with pytest.raises(InputError, match="does not answer"):
        client.score("http://127.0.0.1:9", pl.Series(["t"]), ROWS[:1], batch=1)
