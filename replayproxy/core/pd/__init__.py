"""How a prefill/decode pair is driven: one file a protocol, pure functions on immutable requests.

    client ── request ──▶ prefill request ──▶ P ── answer ──▶ ticket ──▶ decode request ──▶ D ── answer ──▶ client

Prefill fills the KV cache and generates one token; decode takes the cache over and generates. What differs between
protocols is what the two requests carry so that the servers find each other, and whether they are asked one after the
other or at once.
"""

from __future__ import annotations

from replayproxy.core.pd.addr_id import AddrId
from replayproxy.core.pd.bootstrap_room import BootstrapRoom
from replayproxy.core.pd.nixl import Nixl
from replayproxy.core.pd.plain import Plain
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
from replayproxy.core.pd.transfer_id import TransferId


def protocol(name: str, knobs: ProtocolOptions) -> Protocol:
    """The protocol of this name, one of `PROTOCOLS`."""
    made: dict[str, Protocol] = {
        "plain": Plain(),
        "nixl": Nixl(knobs),
        "transfer-id": TransferId(),
        "addr-id": AddrId(),
        "bootstrap-room": BootstrapRoom(),
    }
    return made[name]


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
