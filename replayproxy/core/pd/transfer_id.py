"""`transfer-id`: both servers are asked at once and meet under an id (vLLM's MooncakeConnector).

Decode is told where the prefill's bootstrap server is and which engine will fill the cache; it waits for it there.
"""

from __future__ import annotations

from typing import Any

from replayproxy.core.pd.legs import Asked, body_of, one_token, with_body, with_request_id
from replayproxy.model import Request, Response


class TransferId:
    """Both at once, under `xfer-<id>`."""

    name = "transfer-id"
    concurrent = True
    needs_bootstrap = True
    binds_decode = True

    def prefill_request(self, asked: Asked) -> Request:
        """The client's request, cut to one token, that fills the cache for the id."""
        short = one_token(body_of(asked.request), asked.request.path)
        short["kv_transfer_params"] = {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "transfer_id": f"xfer-{asked.mint}",
        }
        return with_request_id(with_body(asked.request, short), asked.request_id)

    def ticket_from(self, answer: Response) -> None:
        """Nothing is handed over by the answer."""

    def decode_request(self, asked: Asked, ticket: dict[str, Any] | None) -> Request:
        """The client's request, that takes the cache over under the id."""
        whole = body_of(asked.request) | {
            "kv_transfer_params": {
                "do_remote_decode": False,
                "do_remote_prefill": True,
                "remote_bootstrap_addr": asked.prefill.bootstrap,
                "remote_engine_id": asked.prefill.engine,
                "transfer_id": f"xfer-{asked.mint}",
            }
        }
        return with_request_id(with_body(asked.request, whole), asked.request_id)
