"""Answers in place of a server that is not running: to probes, about models, and to CORS preflights.

They have the shape of vLLM's, with the facts of the recorded server that the cassette holds. Recorded answers are not
played here.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

import orjson

from replayproxy.core.cors import AllowedOrigins
from replayproxy.core.dialects.facts import error_body
from replayproxy.core.server_facts import MODELS, VERSION, ServerFacts, describes_models
from replayproxy.model import Request, Response
from replayproxy.proxy.misses import own_response

METRICS = "/metrics"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def metrics_answer(request: Request, page: bytes) -> Response:
    """A page of metrics."""
    return _without_body(request, own_response(200, page, media=PROMETHEUS_TEXT))


def server_answer(request: Request, facts: ServerFacts) -> Response:
    """Return the answer to one of `core.policy.PROBES`, or to a request for models."""
    if not _takes(request):
        return _without_body(request, _wrong_method(request, facts))
    if describes_models(request):
        return _models(request.path, facts)
    match request.path:
        case "/load":
            return own_response(200, b'{"server_load":0}')
        case path if path == VERSION:
            return own_response(200, orjson.dumps(facts.version or {"version": "replayproxy"}))
        case path if path == METRICS:
            return own_response(200, b"", media=PROMETHEUS_TEXT)
        case _:
            return own_response(200, b"", media=None)


def preflight_answer(request: Request, origins: AllowedOrigins) -> Response:
    """Return the answer to a CORS preflight for a recorded endpoint."""
    fields = origins.preflight(request)
    return replace(own_response(204, b"", media=None), headers=fields)


def _takes(request: Request) -> bool:
    """Return whether vLLM accepts the method: `/ping` takes POST too (SageMaker), FastAPI answers 405 to others."""
    return request.method == "GET" or (request.path == "/ping" and request.method == "POST")


def _wrong_method(request: Request, facts: ServerFacts) -> Response:
    status = facts.head_status if request.method == "HEAD" and facts.head_status is not None else 405
    if status == 405:
        return own_response(405, b'{"detail":"Method Not Allowed"}', ("Allow", "GET"))
    return own_response(status, b"", media=None)


def _without_body(request: Request, response: Response) -> Response:
    """RFC 9110 9.3.2: the answer to HEAD has the fields of one to GET, and no body."""
    if request.method != "HEAD":
        return response
    return replace(response, body=b"", cuts=(), timeline=replace(response.timeline, chunks=()))


def _models(path: str, facts: ServerFacts) -> Response:
    name = unquote(path.rstrip("/").removeprefix(MODELS).removeprefix("/"))
    if not name:
        return own_response(200, orjson.dumps({"object": "list", "data": facts.models}))
    for model in facts.models:
        if model["id"] == name:
            return own_response(200, orjson.dumps(model))
    body = error_body(
        f"The model `{name}` does not exist.", type="NotFoundError", code="model_not_found", param="model"
    )
    return own_response(404, body, ("X-Should-Retry", "false"))
