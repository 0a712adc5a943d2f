"""`addr-id`: the request id carries the addresses at which the two connectors find each other (P2P NCCL, MoRI-IO).

The id must be new for every hand-over, so the client's own is not used.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import (
    DECODE_MARK,
    PREFILL_MARK,
    SplitRequest,
    plainly_answered,
    with_body,
    with_request_id,
)
from replayproxy.model import Request, Response


class AddrId:
    """One after the other, under an id made of two addresses. An id is for one prompt."""

    name = "addr-id"
    concurrent = False
    needs_bootstrap = False
    binds_decode = True
    takes_batches = False

    def prefill_request(self, asked: SplitRequest) -> Request:
        """The client's request, cut to one token, under the id."""
        short = plainly_answered(with_body(asked.request, one_token(asked.body, asked.request.path)))
        return with_request_id(short, _id(asked))

    def ticket_from(self, answer: Response) -> None:
        """The id is the ticket."""

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """The client's request under the same id."""
        return with_request_id(asked.request, _id(asked))


def _id(asked: SplitRequest) -> str:
    return f"{PREFILL_MARK}{asked.prefill.kv_address}{DECODE_MARK}{asked.decode.kv_address}_{asked.mint}"
