"""The words that all protocols share: two parties, a request to be split between them, and a ticket.

Also what every prefill request has in common, whatever the protocol: it generates one token and does not stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from typing import Protocol as Shape

import orjson

from replayproxy.core import headers
from replayproxy.errors import UpstreamError
from replayproxy.model import Request, Response

PROTOCOLS = ("plain", "nixl", "transfer-id", "addr-id", "bootstrap-room")

GENERATING = ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages")
"""Endpoints that generate, and so have a prefill. Everything else goes to a decode server alone."""

HAND_OVER = ("kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room")
"""What a proxy adds to a request so that the servers find each other."""

REQUEST_ID = "x-request-id"


class PrefillFailed(UpstreamError):
    """The prefill answered, but not with what a decode needs."""

    code = "prefill_failed"


@dataclass(frozen=True, slots=True)
class Party:
    """One server of a pair. `kv_address` is where its connector listens; `engine` what its bootstrap server says."""

    url: str
    host: str
    kv_address: str = ""
    bootstrap: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and who shall answer it. `request_id` goes on both legs, `mint` is fresh for every hand-over."""

    request: Request
    request_id: str
    mint: str
    prefill: Party
    decode: Party


@dataclass(frozen=True, slots=True)
class Knobs:
    """What differs between deployments of one protocol.

    `params`: `six` or `two` keys in the prefill's kv_transfer_params. `remote_host`: `keep` what the ticket says, or
    put the host of the prefill's `url` into it, where servers advertise a host that others cannot reach.
    """

    params: str = "six"
    remote_host: str = "keep"


class Protocol(Shape):
    """Makes the two requests. Pure; raises `ClientError` for a request that cannot be split."""

    name: str
    concurrent: bool
    """Both legs are asked at once; otherwise the prefill's answer gives the ticket for the decode."""

    needs_bootstrap: bool
    """The prefill's bootstrap server is asked for its engine first."""

    binds_decode: bool
    """The prefill request already names the decode server: another one needs another prefill."""

    def prefill_request(self, asked: Asked) -> Request:
        """What the prefill server is asked."""
        ...

    def ticket_from(self, answer: Response) -> dict[str, Any] | None:
        """What the prefill's answer hands over; None where the protocol has no ticket. Raises `PrefillFailed`."""
        ...

    def decode_request(self, asked: Asked, ticket: dict[str, Any] | None) -> Request:
        """What the decode server is asked. A ticket is used once."""
        ...


def splits(request: Request) -> bool:
    """Whether a request is for both servers. What is not, a malformed one too, is for a decode server to answer."""
    return request.method == "POST" and request.path in GENERATING and bool(json_of(request.body))


def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request that `splits`. Numbers keep their value."""
    value: dict[str, Any] = json.loads(request.body)
    return value


def json_of(body: bytes) -> dict[str, Any]:
    """A JSON object, or nothing."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def without_hand_over(request: Request) -> Request:
    """What a client asked, out of what a decode server was asked."""
    body = body_of(request)
    for name in HAND_OVER:
        body.pop(name, None)
    return with_body(request, body)


def with_body(request: Request, body: dict[str, Any]) -> Request:
    """The request with another body. Numbers keep their value however large they are."""
    try:
        spelled = orjson.dumps(body)
    except orjson.JSONEncodeError:
        spelled = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return replace(request, body=spelled, headers=headers.without(request.headers, "content-length", "expect"))


def with_request_id(request: Request, request_id: str) -> Request:
    """The request with this id, once."""
    fields = headers.without(request.headers, REQUEST_ID)
    return replace(request, headers=(*fields, ("X-Request-Id", request_id)))


def one_token(body: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy that generates one token in one piece. Everything else is kept: `n`, tools, response formats.

    `min_tokens` above the cap, and `stream_options` without a stream, would be refused by vLLM with 400.
    """
    cap = "max_output_tokens" if path.endswith("/responses") else "max_tokens"
    short = {name: value for name, value in body.items() if name != "stream_options"}
    short |= {"stream": False, cap: 1}
    if "max_completion_tokens" in body:
        short["max_completion_tokens"] = 1
    if isinstance(body.get("min_tokens"), int) and body["min_tokens"] > 1:
        short["min_tokens"] = 1
    return short
