"""`transfer-id`: both servers are asked at once and meet under an id (vLLM's MooncakeConnector).

Decode is told where the prefill's bootstrap server is and which engine will fill the cache; it waits for it there. Of
several engines behind one prefill server (data parallel ranks) the prefill is told which one it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from replayproxy.core import headers
from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import SplitRequest, plainly_answered, with_body, with_more, with_request_id
from replayproxy.model import Request, Response

RANK = "X-data-parallel-rank"


class TransferId:
    """Both at once, under `xfer-<id>`. An id is for one prompt."""

    name = "transfer-id"
    concurrent = True
    needs_bootstrap = True
    binds_decode = True
    takes_batches = False

    def prefill_request(self, asked: SplitRequest) -> Request:
        """The client's request, cut to one token, that fills the cache for the id."""
        short = one_token(asked.body, asked.request.path)
        short["kv_transfer_params"] = {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "transfer_id": f"xfer-{asked.mint}",
        }
        request = plainly_answered(with_body(asked.request, short))
        fields = (*headers.without(request.headers, RANK.lower()), (RANK, asked.prefill.rank))
        return with_request_id(replace(request, headers=fields), asked.request_id)

    def ticket_from(self, answer: Response) -> None:
        """Nothing is handed over by the answer."""

    def decode_request(self, asked: SplitRequest, ticket: dict[str, Any] | None) -> Request:
        """The client's request, that takes the cache over under the id."""
        presented = {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "remote_bootstrap_addr": asked.prefill.bootstrap,
            "remote_engine_id": asked.prefill.engine,
            "transfer_id": f"xfer-{asked.mint}",
        }
        return with_request_id(with_more(asked, {"kv_transfer_params": presented}), asked.request_id)
