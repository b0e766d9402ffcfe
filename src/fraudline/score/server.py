"""The server that SageMaker hosting calls: /ping, /invocations and /execution-parameters, as bare ASGI."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from fraudline.model.model import Model
from fraudline.score import payload, risk

_log = logging.getLogger(__name__)

MAX_BODY = 6 * 1024 * 1024  # bytes; SageMaker's limit for endpoints

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Answer = tuple[int, str, bytes]  # status, content type, body
Route = Callable[[dict[str, str], bytes], Answer]

# AWS's own clients request this path if their endpoint URL is set to this server.
_ENDPOINT = re.compile(r"/endpoints/[^/]+/invocations")


class Application:
    """The ASGI application that serves one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._routes: dict[tuple[str, str], Route] = {
            ("GET", "/ping"): self._ping,
            ("GET", "/execution-parameters"): self._execution_parameters,
            ("POST", "/invocations"): self._invocations,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await _body(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, content_type, content = self._answer(scope["method"], scope["path"], headers, body)
        start = [(b"content-type", content_type.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        path = "/invocations" if _ENDPOINT.fullmatch(path) else path
        route = self._routes.get((method, path))
        if route is None:
            allows_another_method = any(path == served for _, served in self._routes)
            return _problem(405 if allows_another_method else 404, f"no {method} {path} here")
        if body is None:
            return _problem(413, f"a request may have {MAX_BODY} bytes; send fewer rows")
        try:
            return route(headers, body)
        except payload.RefusedError as error:
            return _problem(400, str(error))
        except Exception:
            _log.exception("a request failed")
            return _problem(500, "internal error; the log has it")

    def _ping(self, _headers: dict[str, str], _body: bytes) -> Answer:
        return 200, payload.JSON, orjson.dumps({"status": "healthy", "model_version": self._model.version})

    def _execution_parameters(self, _headers: dict[str, str], _body: bytes) -> Answer:
        """Return the settings with which Batch Transform should send its records."""
        parameters = {"MaxConcurrentTransforms": os.cpu_count(), "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
        return 200, payload.JSON, orjson.dumps(parameters)

    def _invocations(self, headers: dict[str, str], body: bytes) -> Answer:
        content_type = payload.media_type(headers.get("content-type", payload.JSON))
        if content_type not in payload.PARSERS:
            return _problem(415, f"content type '{content_type}'; send one of {', '.join(payload.PARSERS)}")
        accept = payload.media_type(headers.get("accept", "*/*").partition(",")[0])
        accept = content_type if accept in ("*/*", "") else accept
        if accept not in payload.PARSERS:
            return _problem(406, f"can't answer in '{accept}'; accept one of {', '.join(payload.PARSERS)}")
        rows = payload.parse(body, content_type, len(self._model.features))
        if not len(rows):
            return 204, accept, b""
        scores = risk.score(self._model, [""] * len(rows), rows).drop("transaction_id")
        return 200, accept, payload.render(scores.to_dicts(), accept)


def _problem(status: int, text: str) -> Answer:
    return status, payload.JSON, orjson.dumps({"error": text})


async def _body(receive: Receive) -> bytes | None:
    """Receive the whole body; None if it is too large.

    A body that is too large is still received to its end, because a client that is still sending would not read
    the answer.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
    return b"".join(parts) if size <= MAX_BODY else None
