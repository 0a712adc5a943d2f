"""`addr-id`: the request id carries the addresses at which the two connectors find each other (P2P NCCL, MoRI-IO).

The id must be new for every hand-over, so the client's own is not used, and one that looks like ours is refused: it
would name servers of the client's choice.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core import headers
from replayproxy.core.pd.legs import REQUEST_ID, Asked, body_of, one_token, with_body, with_request_id
from replayproxy.errors import ClientError
from replayproxy.model import Request, Response

_MARKS = ("___prefill_addr_", "___decode_addr_")


class AddrId:
    """One after the other, under an id made of two addresses."""

    name = "addr-id"
    concurrent = False
    needs_bootstrap = False
    binds_decode = True

    def prefill_request(self, asked: Asked) -> Request:
        """The client's request, cut to one token, under the id."""
        short = one_token(body_of(asked.request), asked.request.path)
        return with_request_id(with_body(asked.request, short), _id(asked))

    def ticket_from(self, answer: Response) -> None:
        """The id is the ticket."""

    def decode_request(self, asked: Asked, ticket: dict[str, Any] | None) -> Request:
        """The client's request under the same id."""
        return with_request_id(asked.request, _id(asked))


def _id(asked: Asked) -> str:
    own = headers.get(asked.request.headers, REQUEST_ID) or ""
    if any(mark in own for mark in _MARKS):
        raise ClientError("an X-Request-Id with addresses in it is ours to make: send another, or none")
    return f"{_MARKS[0]}{asked.prefill.kv_address}{_MARKS[1]}{asked.decode.kv_address}_{asked.mint}"
