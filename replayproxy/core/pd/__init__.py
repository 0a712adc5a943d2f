"""How a prefill/decode pair is driven: one module per protocol, pure functions on immutable requests.

    client ── request ──▶ prefill request ──▶ P ── answer ──▶ ticket ──▶ decode request ──▶ D ── answer ──▶ client

Prefill fills the KV cache and generates one token; decode takes the cache over and generates. Protocols differ in what
the two requests carry so that the servers find each other, and in whether they are sent one after the other or at once.
A new protocol is one module and one row in `protocol`.
"""

from __future__ import annotations

from replayproxy.core.pd.addr_id import ADDR_ID
from replayproxy.core.pd.bootstrap_room import BOOTSTRAP_ROOM
from replayproxy.core.pd.nixl import nixl
from replayproxy.core.pd.plain import PLAIN
from replayproxy.core.pd.protocol import (
    PROTOCOLS,
    PairServer,
    PrefillFailed,
    Protocol,
    ProtocolOptions,
    SplitRequest,
    opened,
    splits,
)
from replayproxy.core.pd.transfer_id import TRANSFER_ID


def protocol(name: str, options: ProtocolOptions) -> Protocol:
    """Return the protocol of this name, one of `PROTOCOLS`."""
    protocols = {
        "plain": PLAIN,
        "nixl": nixl(options),
        "transfer-id": TRANSFER_ID,
        "addr-id": ADDR_ID,
        "bootstrap-room": BOOTSTRAP_ROOM,
    }
    return protocols[name]


__all__ = [
    "PROTOCOLS",
    "PairServer",
    "PrefillFailed",
    "Protocol",
    "ProtocolOptions",
    "SplitRequest",
    "opened",
    "protocol",
    "splits",
]
