"""What all protocols share: the servers of a pair, a request to split between them, a ticket.

Also what every prefill request has in common: it generates one token and does not stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from replayproxy.core import coding, headers
from replayproxy.core.identity.canonical import has_too_many_values
from replayproxy.core.pd.endpoints import endpoint_of, generates, looks_like_generation, one_token
from replayproxy.errors import ClientError, UpstreamError
from replayproxy.model import Request, Response

PROTOCOLS = ("plain", "nixl", "transfer-id", "addr-id", "bootstrap-room")

HAND_OVER = ("kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room")
"""Keys that a proxy adds to a request so that the servers find each other."""

REQUEST_ID = "x-request-id"

PREFILL_MARK, DECODE_MARK = "___prefill_addr_", "___decode_addr_"
"""What stands before the addresses in a request id that carries them."""


class PrefillFailed(UpstreamError):
    """The prefill answered, but not with what a decode needs."""

    code = "prefill_failed"


@dataclass(frozen=True, slots=True)
class PairServer:
    """One server of a pair: the addresses of its connector (`kv_address`) and of its bootstrap server.

    `engine` and `rank` are answers of the bootstrap server, for protocols that query it.
    """

    url: str
    host: str
    kv_address: str = ""
    bootstrap: str = ""
    engine: str = ""
    rank: str = "0"


@dataclass(frozen=True, slots=True)
class SplitRequest:
    """A request to split between two servers, and its JSON body.

    Both legs carry `request_id`; `mint` is new for each transfer.
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

    `params`: `six` or `two` keys in the kv_transfer_params of the prefill. `remote_host`: `keep` the one in the ticket,
    or replace it by the host of the prefill's `url`, for servers that advertise a host which others cannot reach.
    """

    params: str = "six"
    remote_host: str = "keep"


Ticket = dict[str, Any]
"""What a prefill hands over in its answer, to be presented to the decode server."""


def no_ticket(_: Response) -> None:
    """Return None: the answer of the prefill hands nothing over."""
    return


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol: two pure functions that make the two requests, and what the caller has to know about them.

    The functions raise `ClientError` for a request that cannot be split. `decode_request` gets the ticket of
    `ticket_from` (raises `PrefillFailed`), or None; a ticket is used once.
    """

    name: str
    prefill_request: Callable[[SplitRequest], Request]
    decode_request: Callable[[SplitRequest, Ticket | None], Request]
    ticket_from: Callable[[Response], Ticket | None] = no_ticket

    concurrent: bool = False
    """Both requests are sent at once; otherwise the answer of the prefill gives the ticket for the decode."""

    needs_bootstrap: bool = False
    """The bootstrap server of the prefill is queried for its engine first."""

    binds_decode: bool = False
    """The prefill request names the decode server, so another decode server needs another prefill."""

    keeps_decode_body: bool = False
    """The decode request has the body of the client's request."""

    takes_batches: bool = False
    """Each prompt of a request with several prompts is transferred."""


# The client's request


def opened(request: Request) -> dict[str, Any] | None:
    """Return the JSON body of a request that generates; None if it has no prefill or is malformed."""
    if request.method != "POST" or endpoint_of(request.path) is None:
        return None
    body = json_of(coding.body_of(request))
    return body if body and generates(request.path, body) else None


def is_unsplit_generation(request: Request) -> bool:
    """Return whether a request that goes to a decode server alone looks like one that generates."""
    if request.method != "POST" or not request.body:
        return False
    body = coding.body_of(request)
    if has_too_many_values(body):
        return endpoint_of(request.path) is not None
    return looks_like_generation(request.path, json_of(body))


def splits(request: Request) -> bool:
    """Return whether a request goes to both servers. Others, malformed ones too, are answered by a decode server."""
    return opened(request) is not None


def json_of(body: bytes) -> dict[str, Any]:
    """Return a JSON object; empty if the body is not one, or has too many values. Python's own parser: orjson turns
    integers beyond 64 bits into floats."""
    # Attack: 128 MB of `[[],[],...]` take 5 GB.
    if has_too_many_values(body):
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def without_hand_over(request: Request) -> Request:
    """Return the request of the client, from the request that a decode server received."""
    body = {name: value for name, value in json_of(coding.body_of(request)).items() if name not in HAND_OVER}
    return with_body(request, body)


def admit(request: Request) -> None:
    """Reject a request id that carries addresses. Raises `ClientError`.

    Attack: a connector opens a connection to such an address, so the client could choose the server.
    """
    own = headers.get(request.headers, REQUEST_ID) or ""
    if PREFILL_MARK in own or DECODE_MARK in own:
        raise ClientError("an X-Request-Id with addresses in it is ours to make: send another, or none")


# The legs' requests


def one_token_of(split: SplitRequest) -> SplitRequest:
    """Return the same, cut to one token: for a transfer whose client has left."""
    short = one_token(split.body, split.request.path)
    return replace(split, request=with_body(split.request, short), body=short)


def with_body(request: Request, body: dict[str, Any]) -> Request:
    """Return the request with another body. Numbers keep their value, however large they are."""
    try:
        encoded = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can say it
        encoded = json.dumps(body, separators=(",", ":")).encode()
    return _with_bytes(request, encoded)


def with_more(split: SplitRequest, more: dict[str, Any]) -> Request:
    """Return the request of the client, byte for byte, with more keys at the end of its body. If it has one of them
    already, the body is encoded anew."""
    body = coding.body_of(split.request).strip()
    if not split.body or more.keys() & split.body.keys() or body[:1] != b"{" or body[-1:] != b"}":
        return with_body(split.request, split.body | more)
    encoded = json.dumps(more, separators=(",", ":")).encode()
    return _with_bytes(split.request, body[:-1] + b"," + encoded[1:])


def _with_bytes(request: Request, body: bytes) -> Request:
    return replace(
        request, body=body, headers=headers.without(request.headers, "content-length", "content-encoding", "expect")
    )


def with_request_id(request: Request, request_id: str) -> Request:
    """Return the request with exactly one request id."""
    fields = headers.without(request.headers, REQUEST_ID)
    return replace(request, headers=(*fields, ("X-Request-Id", request_id)))


def without_compression(request: Request) -> Request:
    """Return the request without Accept-Encoding: its answer is read here."""
    return replace(request, headers=headers.without(request.headers, "accept-encoding"))
