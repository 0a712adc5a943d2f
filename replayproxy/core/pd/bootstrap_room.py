"""`bootstrap-room`: both servers get the same request at once and meet in a room of the prefill's bootstrap server.

As in SGLang's gateway and mini load balancer. Neither `stream` nor the token limits are changed: SGLang's prefill mode
stops after the prefill by itself.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core.pd.endpoints import choices_in, prompts_in
from replayproxy.core.pd.protocol import Protocol, SplitRequest, Ticket, with_more, with_request_id
from replayproxy.model import Request


def _prefill_request(split: SplitRequest) -> Request:
    """Return the client's request with the room."""
    return _decode_request(split, None)


def _decode_request(split: SplitRequest, _ticket: Ticket | None) -> Request:
    """Return the same request."""
    host, _, port = split.prefill.bootstrap.rpartition(":")
    room = int(split.mint[:16], 16) >> 1  # 63 bit
    size = _batch(split.body)
    if size is None:
        where: dict[str, Any] = {"bootstrap_host": host, "bootstrap_port": int(port), "bootstrap_room": room}
    else:
        rooms = [(room + item) % 2**63 for item in range(size)]
        where = {"bootstrap_host": [host] * size, "bootstrap_port": [int(port)] * size, "bootstrap_room": rooms}
    return with_request_id(with_more(split, where), split.request_id)


def _batch(body: dict[str, Any]) -> int | None:
    """Return the number of sequences of a batch; None for a single one, which needs no lists."""
    prompts, choices = prompts_in(body), choices_in(body)
    return None if prompts is None and choices == 1 else (prompts or 1) * choices


BOOTSTRAP_ROOM = Protocol(
    name="bootstrap-room",
    prefill_request=_prefill_request,
    decode_request=_decode_request,
    concurrent=True,
    binds_decode=True,
    takes_batches=True,
)
"""Both legs at once, in one room; a batch gets one room per item."""
