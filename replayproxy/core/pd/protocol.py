"""The words that all protocols share: two parties, a request to be split between them, and a ticket.

Also what every prefill request has in common, whatever the protocol: it generates one token and does not stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from typing import Protocol as Shape

from replayproxy.core import coding, headers
from replayproxy.core.pd.endpoints import endpoint_of, generates, looks_like_generation, one_token
from replayproxy.errors import ClientError, UpstreamError
from replayproxy.model import Request, Response

PROTOCOLS = ("plain", "nixl", "transfer-id", "addr-id", "bootstrap-room")

HAND_OVER = ("kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room")
"""What a proxy adds to a request so that the servers find each other."""

REQUEST_ID = "x-request-id"

PREFILL_MARK, DECODE_MARK = "___prefill_addr_", "___decode_addr_"
"""What stands before the addresses in a request id that carries them."""


class PrefillFailed(UpstreamError):
    """The prefill answered, but not with what a decode needs."""

    code = "prefill_failed"


@dataclass(frozen=True, slots=True)
class PairServer:
    """One server of a pair. `kv_address` is where its connector listens; `bootstrap` where its bootstrap server is.

    `engine` and `rank` are what that bootstrap server says, where a protocol asks it.
    """

    url: str
    host: str
    kv_address: str = ""
    bootstrap: str = ""
    engine: str = ""
    rank: str = "0"


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """A request, its JSON body, and who shall answer it.

    `request_id` goes on both legs, `mint` is fresh for every hand-over.
    """

    request: Request
    body: dict[str, Any]
    request_id: str
    mint: str
    prefill: PairServer
    decode: PairServer


@dataclass(frozen=True, slots=True)
class ProtocolOptions:
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

    takes_batches: bool
    """Several prompts in one request are handed over, each for itself."""

    def prefill_request(self, asked: SplitRequest) -> Request:
        """What the prefill server is asked."""
        ...

    def ticket_from(self, answer: Response) -> dict[str, Any] | None:
        """What the prefill's answer hands over; None where the protocol has no ticket. Raises `PrefillFailed`."""
        ...

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """What the decode server is asked. A ticket is used once."""
        ...


# The client's request


def opened(request: Request) -> dict[str, Any] | None:
    """The JSON object in a request that generates; None for what has no prefill, or is malformed."""
    if request.method != "POST" or endpoint_of(request.path) is None:
        return None
    body = json_of(coding.body_of(request))
    return body if body and generates(request.path, body) else None


def is_unsplit_generation(request: Request) -> bool:
    """Whether a request that goes to a decode server alone looks as if it generated."""
    if request.method != "POST" or not request.body:
        return False
    return looks_like_generation(request.path, json_of(coding.body_of(request)))


def splits(request: Request) -> bool:
    """Whether a request is for both servers. What is not, a malformed one too, is for a decode server to answer."""
    return opened(request) is not None


def json_of(body: bytes) -> dict[str, Any]:
    """A JSON object, or nothing. Python's own reader: orjson makes floats of integers beyond 64 bits."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def without_hand_over(request: Request) -> Request:
    """What a client asked, out of what a decode server was asked."""
    body = {name: value for name, value in json_of(coding.body_of(request)).items() if name not in HAND_OVER}
    return with_body(request, body)


def admit(request: Request) -> None:
    """Refuse a request id that carries addresses. Raises `ClientError`.

    A connector goes where such an id says: it would be a server of the client's choice.
    """
    own = headers.get(request.headers, REQUEST_ID) or ""
    if PREFILL_MARK in own or DECODE_MARK in own:
        raise ClientError("an X-Request-Id with addresses in it is ours to make: send another, or none")


# The legs' requests


def one_token_of(asked: SplitRequest) -> SplitRequest:
    """The same, cut to one token: for a hand-over that nobody waits for any more."""
    short = one_token(asked.body, asked.request.path)
    return replace(asked, request=with_body(asked.request, short), body=short)


def with_body(request: Request, body: dict[str, Any]) -> Request:
    """The request with another body. Numbers keep their value however large they are."""
    try:
        spelled = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can say it
        spelled = json.dumps(body, separators=(",", ":")).encode()
    return _with_bytes(request, spelled)


def with_more(asked: SplitRequest, more: dict[str, Any]) -> Request:
    """The client's request, byte for byte, with more keys at its end; made anew where it has one of them already."""
    body = coding.body_of(asked.request).strip()
    if not asked.body or more.keys() & asked.body.keys() or body[:1] != b"{" or body[-1:] != b"}":
        return with_body(asked.request, asked.body | more)
    spelled = json.dumps(more, separators=(",", ":")).encode()
    return _with_bytes(asked.request, body[:-1] + b"," + spelled[1:])


def _with_bytes(request: Request, body: bytes) -> Request:
    return replace(
        request, body=body, headers=headers.without(request.headers, "content-length", "content-encoding", "expect")
    )


def with_request_id(request: Request, request_id: str) -> Request:
    """The request with this id, once."""
    fields = headers.without(request.headers, REQUEST_ID)
    return replace(request, headers=(*fields, ("X-Request-Id", request_id)))


def plainly_answered(request: Request) -> Request:
    """The request for an answer that we read ourselves: not compressed."""
    return replace(request, headers=headers.without(request.headers, "accept-encoding"))
