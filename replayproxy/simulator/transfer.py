"""Prefill and decode as two servers: the ticket that a prefill hands out, and what a decode saves with one.

The keys are those of vLLM's NIXL connector, as llm-d-inference-sim and AIBrix's mock have them. Nothing is transferred;
a ticket is not checked, because whoever made it may be another server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from replayproxy.simulator.draws import Draws
from replayproxy.simulator.generation import GenerationRequest
from replayproxy.simulator.routes import ApiError

BLOCK = 16
"""Tokens in a block of a ticket."""


@dataclass(frozen=True, slots=True)
class RemoteKv:
    """What `kv_transfer_params` of a request says. `prefills`: another server decodes. `decodes`: another prefilled."""

    prefills: bool = False
    decodes: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RemoteKv:
        """Read it from a body. Raises `ApiError` where it asks for both."""
        params = body.get("kv_transfer_params")
        if not isinstance(params, dict):
            return cls()
        found = cls(bool(params.get("do_remote_decode")), bool(params.get("do_remote_prefill")))
        if found.prefills and found.decodes:
            raise ApiError(400, "do_remote_decode and do_remote_prefill exclude each other", param="kv_transfer_params")
        return found

    def limited(self, request: GenerationRequest) -> GenerationRequest:
        """The request as it is generated: a prefill for another server has one token."""
        if not self.prefills:
            return request
        return replace(request, limit=1, tools=(), schema=None, options=(), reasoning_tokens=0)

    def ticket(self, draws: Draws, prompt_tokens: int) -> dict[str, Any] | None:
        """`kv_transfer_params` of the answer; None unless this is a prefill for another server."""
        if not self.prefills:
            return None
        blocks = -(-prompt_tokens // BLOCK)
        first = draws.generator("blocks").randrange(1, 10_000)
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": list(range(first, first + blocks)),
            "remote_engine_id": f"simulated-{draws.id('engine')[:8]}",
            "remote_request_id": f"prefill-{draws.id('request')}",
            "remote_host": "127.0.0.1",
            "remote_port": 5600,
            "tp_size": 1,
        }
