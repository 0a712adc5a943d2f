"""`nixl`: prefill hands out a ticket, decode presents it (vLLM's NixlConnector, pull; the de-facto standard).

Follows vLLM's toy proxy and llm-d's sidecar. The ticket is passed verbatim: its keys grow with every vLLM release.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from replayproxy.core.openai import parsed
from replayproxy.core.pd.legs import (
    Asked,
    Knobs,
    PrefillFailed,
    body_of,
    one_token,
    with_body,
    with_request_id,
)
from replayproxy.model import Request, Response

_TWO = {"do_remote_decode": True, "do_remote_prefill": False}
_SIX = _TWO | {"remote_engine_id": None, "remote_block_ids": None, "remote_host": None, "remote_port": None}

_HAND_OVER = "its answer carries no kv_transfer_params: start it with a kv connector, or use --on-prefill-error decode"


class Nixl:
    """One after the other, with a ticket."""

    name = "nixl"
    concurrent = False
    needs_bootstrap = False
    binds_decode = False

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs

    def prefill_request(self, asked: Asked) -> Request:
        """The client's request, cut to one token, with the keys that ask for a ticket."""
        short = one_token(body_of(asked.request), asked.request.path)
        short["kv_transfer_params"] = dict(_SIX if self._knobs.params == "six" else _TWO)
        return with_request_id(with_body(asked.request, short), asked.request_id)

    def ticket_from(self, answer: Response) -> dict[str, Any]:
        """The `kv_transfer_params` of the answer. Raises `PrefillFailed` where a decode could do nothing with it.

        Without block ids vLLM's scheduler fails an assertion, so such a ticket is never presented.
        """
        ticket = parsed(answer.body).get("kv_transfer_params")
        if not isinstance(ticket, dict) or not ticket:
            raise PrefillFailed(f"the prefill server gave no ticket: {_HAND_OVER}")
        if ticket.get("do_remote_prefill") is not True or not isinstance(ticket.get("remote_block_ids"), list):
            raise PrefillFailed("the prefill server's ticket is not whole: do both servers run the same vLLM?")
        return ticket

    def decode_request(self, asked: Asked, ticket: dict[str, Any] | None) -> Request:
        """The client's request with the ticket; without one, a decode that prefills by itself."""
        if ticket is None:
            return with_request_id(asked.request, asked.request_id)
        presented = dict(ticket)
        if self._knobs.remote_host == "url":
            presented["remote_host"] = urlsplit(asked.prefill.url).hostname
        whole = body_of(asked.request) | {"kv_transfer_params": presented}
        return with_request_id(with_body(asked.request, whole), asked.request_id)
