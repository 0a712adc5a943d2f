"""`nixl`: prefill hands out a ticket, decode presents it (vLLM's NixlConnector, pull; the de-facto standard).

Follows vLLM's toy proxy and llm-d's sidecar. The ticket is passed verbatim: its keys grow with every vLLM release.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import (
    PrefillFailed,
    ProtocolOptions,
    SplitRequest,
    plainly_answered,
    with_body,
    with_more,
    with_request_id,
)
from replayproxy.model import Request, Response

_TWO = {"do_remote_decode": True, "do_remote_prefill": False}
_SIX = _TWO | {"remote_engine_id": None, "remote_block_ids": None, "remote_host": None, "remote_port": None}

_NEEDED = ("remote_block_ids", "remote_engine_id", "remote_host", "remote_port")
"""Without block ids vLLM's scheduler fails an assertion and its engine ends; without one of the others the request
waits for ever (vLLM 0.32, `nixl/pull_scheduler.py`)."""


class Nixl:
    """One after the other, with a ticket. It is for one prompt: vLLM hands out only the first one's."""

    name = "nixl"
    concurrent = False
    needs_bootstrap = False
    binds_decode = False
    takes_batches = False

    def __init__(self, knobs: ProtocolOptions) -> None:
        self._knobs = knobs

    def prefill_request(self, asked: SplitRequest) -> Request:
        """The client's request, cut to one token, with the keys that ask for a ticket."""
        short = one_token(asked.body, asked.request.path)
        short["kv_transfer_params"] = dict(_SIX if self._knobs.params == "six" else _TWO)
        return with_request_id(plainly_answered(with_body(asked.request, short)), asked.request_id)

    def ticket_from(self, answer: Response) -> dict[str, Any]:
        """The `kv_transfer_params` of the answer. Raises `PrefillFailed` where a decode could do nothing with it."""
        ticket = parsed(answer.body).get("kv_transfer_params")
        if not isinstance(ticket, dict) or not ticket:
            raise PrefillFailed(
                "the prefill server gave no ticket (its answer carries no kv_transfer_params): start it with a kv"
                " connector, or use --on-prefill-error decode"
            )
        missing = [name for name in _NEEDED if ticket.get(name) in (None, [], "")]
        if ticket.get("do_remote_prefill") is not True or not isinstance(ticket.get("remote_block_ids"), list):
            missing = missing or ["do_remote_prefill"]
        if missing:
            raise PrefillFailed(
                f"the prefill server's ticket is not whole (look at its {missing[0]}): do both servers run the same"
                " vLLM, with the same connector?"
            )
        return ticket

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """The client's request with the ticket; without one, a decode that prefills by itself."""
        if ticket is None:
            return with_request_id(asked.request, asked.request_id)
        presented = dict(ticket)
        if self._knobs.remote_host == "url":
            presented["remote_host"] = urlsplit(asked.prefill.url).hostname
        return with_request_id(with_more(asked, {"kv_transfer_params": presented}), asked.request_id)
