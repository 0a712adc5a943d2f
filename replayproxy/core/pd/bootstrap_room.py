"""`bootstrap-room`: both servers get the same request at once and meet in a room of the prefill's bootstrap server
(SGLang's gateway and mini load balancer).

Neither `stream` nor the token caps are changed: SGLang's prefill mode stops after the prefill by itself.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core.pd.endpoints import choices_in, prompts_in
from replayproxy.core.pd.protocol import SplitRequest, with_more, with_request_id
from replayproxy.model import Request, Response


class BootstrapRoom:
    """Both at once, in one room; a batch gets a room an item."""

    name = "bootstrap-room"
    concurrent = True
    needs_bootstrap = False
    binds_decode = True
    takes_batches = True

    def prefill_request(self, asked: SplitRequest) -> Request:
        """The client's request with the room."""
        return self.decode_request(asked, None)

    def ticket_from(self, answer: Response) -> None:
        """Nothing is handed over by the answer."""

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """The same."""
        host, _, port = asked.prefill.bootstrap.rpartition(":")
        room = int(asked.mint[:16], 16) >> 1  # 63 bit
        size = _batch(asked.body)
        if size is None:
            where: dict[str, Any] = {"bootstrap_host": host, "bootstrap_port": int(port), "bootstrap_room": room}
        else:
            rooms = [(room + item) % 2**63 for item in range(size)]
            where = {"bootstrap_host": [host] * size, "bootstrap_port": [int(port)] * size, "bootstrap_room": rooms}
        return with_request_id(with_more(asked, where), asked.request_id)


def _batch(body: dict[str, Any]) -> int | None:
    """How many sequences a request asks for; None for one, which needs no lists."""
    prompts, choices = prompts_in(body), choices_in(body)
    return None if prompts is None and choices == 1 else (prompts or 1) * choices
