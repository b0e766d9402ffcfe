"""The server as SageMaker hosting calls it: in process for its rules, and once for real over HTTP."""

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
from fraudline.score.deploy_model import _serving
from fraudline.score.server import MAX_BODY, Application
from tests.artifacts import ROWS


def ask(
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
    status, _, body = ask(model, "GET", "/ping")
    assert status == 200
    assert json.loads(body)["model_version"] == "v2026-02-01"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_in_json_out_one_answer_a_row(model: Model, content_type: str):
    status, _, body = ask(model, "POST", "/invocations", instances(ROWS[:5].tolist()), content_type)
    predictions = json.loads(body)["predictions"]
    assert status == 200
    assert [answer["fraud_score"] for answer in predictions] == scores(model, ROWS[:5])
    assert set(predictions[0]) >= {"fraud_score", "confidence", "risk_level", "reasons", "margin", "model_version"}


def test_csv_and_json_lines_answer_one_line_a_row_with_the_same_score(model: Model):
    csv = "".join(",".join(str(value) for value in row) + "\n" for row in ROWS[:5].tolist()).encode()
    lines = "".join(json.dumps({"features": row}) + "\n" for row in ROWS[:5].tolist()).encode()
    _, _, as_csv = ask(model, "POST", "/invocations", csv, "text/csv; charset=utf-8")
    _, _, as_lines = ask(model, "POST", "/invocations", lines, "application/jsonlines")
    assert [float(line) for line in as_csv.splitlines()] == scores(model, ROWS[:5])
    assert [json.loads(line)["fraud_score"] for line in as_lines.splitlines()] == scores(model, ROWS[:5])


def test_the_answer_comes_as_accept_asks(model: Model):
    status, content_type, body = ask(model, "POST", "/invocations", instances(ROWS[:1].tolist()), accept="text/csv")
    assert (status, content_type) == (200, "text/csv")
    assert float(body) == scores(model, ROWS[:1])[0]


def test_a_missing_value_is_null_in_json_and_empty_in_csv(model: Model):
    row = np.array([[np.nan, 1.0, 2.0]], np.float32)
    for body, content_type in ((instances([[None, 1.0, 2.0]]), "application/json"), (b",1.0,2.0", "text/csv")):
        _, _, answer = ask(model, "POST", "/invocations", body, content_type, accept="text/csv")
        assert float(answer) == scores(model, row)[0]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
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
def test_what_cannot_be_answered_is_refused_and_says_which_row_and_why(
    model: Model, body: bytes, content_type: str, status: int, says: str
):
    got, _, answer = ask(model, "POST", "/invocations", body, content_type)
    assert got == status
    assert says in json.loads(answer)["error"]


def test_no_rows_no_content_and_an_unknown_accept_is_not_acceptable(model: Model):
    assert ask(model, "POST", "/invocations", b"", "text/csv")[0] == 204
    assert ask(model, "POST", "/invocations", instances(ROWS[:1].tolist()), accept="image/png")[0] == 406


def test_only_the_known_paths_are_there(model: Model):
    assert ask(model, "GET", "/")[0] == 404
    assert ask(model, "GET", "/invocations")[0] == 405


def test_over_http_scores_are_those_of_the_process(artifact: Path, model: Model):
    """Two ways to score one day must not give two answers."""
    ids = pl.Series([f"t{number}" for number in range(len(ROWS))])
    with _serving(artifact) as endpoint:
        served = client.score(endpoint, ids, ROWS, batch=64).scores
    assert served.equals(risk.score(model, ids, ROWS))


def test_an_endpoint_that_is_not_there_is_an_error_of_the_input():
    with pytest.raises(InputError, match="does not answer"):
        client.score("http://127.0.0.1:9", pl.Series(["t"]), ROWS[:1], batch=1)
