"""`nixl`: prefill hands out a ticket, decode presents it (vLLM's NixlConnector, pull; the de-facto standard).

Follows vLLM's toy proxy and llm-d's sidecar. The ticket is passed verbatim: its keys grow with every vLLM release.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

import orjson

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import (
    PrefillFailed,
    Protocol,
    ProtocolOptions,
    SplitRequest,
    Ticket,
    with_body,
    with_more,
    with_request_id,
    without_compression,
)
from replayproxy.model import Request, Response

_TWO = {"do_remote_decode": True, "do_remote_prefill": False}
_SIX = _TWO | {"remote_engine_id": None, "remote_block_ids": None, "remote_host": None, "remote_port": None}

_NEEDED = ("remote_block_ids", "remote_engine_id", "remote_host", "remote_port")
"""Without block ids vLLM's scheduler fails an assertion and its engine ends; without one of the others the request
waits for ever (vLLM 0.32, `nixl/pull_scheduler.py`)."""


MOST_TICKET = 2 * 1024 * 1024
"""Bytes of a ticket: the block ids of five million tokens, in blocks of 16. It is encoded again, and stored."""


def nixl(options: ProtocolOptions) -> Protocol:
    """Return the protocol: one leg after the other, with a ticket.

    It takes one prompt per request: of a batch, vLLM hands out a ticket for the first prompt only.
    """

    return Protocol(
        name="nixl",
        prefill_request=partial(_prefill_request, options),
        decode_request=partial(_decode_request, options),
        ticket_from=_ticket_from,
    )


def _prefill_request(options: ProtocolOptions, split: SplitRequest) -> Request:
    """Return the client's request, cut to one token, with the keys that request a ticket."""
    short = one_token(split.body, split.request.path)
    short["kv_transfer_params"] = dict(_SIX if options.params == "six" else _TWO)
    return with_request_id(without_compression(with_body(split.request, short)), split.request_id)


def _decode_request(options: ProtocolOptions, split: SplitRequest, ticket: Ticket | None) -> Request:
    """Return the client's request with the ticket; without one, the decode server prefills by itself."""
    if ticket is None:
        return with_request_id(split.request, split.request_id)
    presented = dict(ticket)
    if options.remote_host == "url":
        presented["remote_host"] = urlsplit(split.prefill.url).hostname
    return with_request_id(with_more(split, {"kv_transfer_params": presented}), split.request_id)


def _ticket_from(answer: Response) -> Ticket:
    """Return the `kv_transfer_params` of the answer. Raises `PrefillFailed` if a decode server could not use them."""
    ticket = parsed(answer.body).get("kv_transfer_params")
    if not isinstance(ticket, dict) or not ticket:
        raise PrefillFailed(
            "the prefill server gave no ticket (its answer carries no kv_transfer_params): start it with a kv"
            " connector, or use --on-prefill-error decode"
        )
    if len(answer.body) > MOST_TICKET and len(orjson.dumps(ticket)) > MOST_TICKET:
        raise PrefillFailed(f"the prefill server's ticket is longer than {MOST_TICKET} bytes: look at its log")
    missing = [name for name in _NEEDED if ticket.get(name) in (None, [], "")]
    if ticket.get("do_remote_prefill") is not True or not isinstance(ticket.get("remote_block_ids"), list):
        missing = missing or ["do_remote_prefill"]
    if missing:
        raise PrefillFailed(
            f"the prefill server's ticket is not whole (look at its {missing[0]}): do both servers run the same"
            " vLLM, with the same connector?"
        )
    return ticket
