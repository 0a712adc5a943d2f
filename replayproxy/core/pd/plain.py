"""`plain`: two legs, nothing passed; the cache is found by its content.

As in Mooncake's first guide for vLLM, and in LMCache's simple proxy.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import SplitRequest, plainly_answered, with_body, with_request_id
from replayproxy.model import Request, Response


class Plain:
    """One after the other; the decode request is the client's own, byte for byte."""

    name = "plain"
    concurrent = False
    needs_bootstrap = False
    binds_decode = False
    takes_batches = True

    def prefill_request(self, asked: SplitRequest) -> Request:
        """The client's request, cut to one token."""
        short = plainly_answered(with_body(asked.request, one_token(asked.body, asked.request.path)))
        return with_request_id(short, asked.request_id)

    def ticket_from(self, answer: Response) -> None:
        """There is none."""

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """The client's request."""
        return with_request_id(asked.request, asked.request_id)
