"""`plain`: two legs, nothing transferred explicitly; the decode server finds the cache by its content.

As in Mooncake's first guide for vLLM, and in LMCache's simple proxy.
"""

from __future__ import annotations

from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import Protocol, SplitRequest, Ticket, with_body, with_request_id, without_compression
from replayproxy.model import Request


def _prefill_request(split: SplitRequest) -> Request:
    """Return the client's request, cut to one token."""
    short = without_compression(with_body(split.request, one_token(split.body, split.request.path)))
    return with_request_id(short, split.request_id)


def _decode_request(split: SplitRequest, _ticket: Ticket | None) -> Request:
    """Return the client's request."""
    return with_request_id(split.request, split.request_id)


PLAIN = Protocol(
    name="plain",
    prefill_request=_prefill_request,
    decode_request=_decode_request,
    keeps_decode_body=True,
    takes_batches=True,
)
"""One leg after the other; the decode request is the client's own, byte for byte."""
