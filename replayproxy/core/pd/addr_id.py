"""`addr-id`: the request id carries the addresses of the two connectors (P2P NCCL, MoRI-IO).

The id must be new for each transfer, so the client's own is not used.
"""

from __future__ import annotations

from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import (
    DECODE_MARK,
    PREFILL_MARK,
    Protocol,
    SplitRequest,
    Ticket,
    with_body,
    with_request_id,
    without_compression,
)
from replayproxy.model import Request


def _prefill_request(split: SplitRequest) -> Request:
    """Return the client's request, cut to one token, with the id."""
    short = without_compression(with_body(split.request, one_token(split.body, split.request.path)))
    return with_request_id(short, _id(split))


def _decode_request(split: SplitRequest, _ticket: Ticket | None) -> Request:
    """Return the client's request with the same id."""
    return with_request_id(split.request, _id(split))


def _id(split: SplitRequest) -> str:
    return f"{PREFILL_MARK}{split.prefill.kv_address}{DECODE_MARK}{split.decode.kv_address}_{split.mint}"


ADDR_ID = Protocol(
    name="addr-id",
    prefill_request=_prefill_request,
    decode_request=_decode_request,
    keeps_decode_body=True,
    binds_decode=True,
)
"""One leg after the other, with an id made of two addresses. An id is for one prompt."""
