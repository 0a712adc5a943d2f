"""`transfer-id`: both requests are sent at once and meet under an id (vLLM's MooncakeConnector).

The decode request names the prefill's bootstrap server and the engine that fills the cache, and waits for it there. If
several engines (data parallel ranks) run behind one prefill server, the prefill request names the rank.
"""

from __future__ import annotations

from dataclasses import replace

from replayproxy.core import headers
from replayproxy.core.pd.endpoints import one_token
from replayproxy.core.pd.protocol import (
    Protocol,
    SplitRequest,
    Ticket,
    with_body,
    with_more,
    with_request_id,
    without_compression,
)
from replayproxy.model import Request

RANK = "X-data-parallel-rank"


def _prefill_request(split: SplitRequest) -> Request:
    """Return the client's request, cut to one token, that fills the cache for the id."""
    short = one_token(split.body, split.request.path)
    short["kv_transfer_params"] = {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "transfer_id": f"xfer-{split.mint}",
    }
    request = without_compression(with_body(split.request, short))
    fields = (*headers.without(request.headers, RANK.lower()), (RANK, split.prefill.rank))
    return with_request_id(replace(request, headers=fields), split.request_id)


def _decode_request(split: SplitRequest, _ticket: Ticket | None) -> Request:
    """Return the client's request, which takes the cache over under the id."""
    presented = {
        "do_remote_decode": False,
        "do_remote_prefill": True,
        "remote_bootstrap_addr": split.prefill.bootstrap,
        "remote_engine_id": split.prefill.engine,
        "transfer_id": f"xfer-{split.mint}",
    }
    return with_request_id(with_more(split, {"kv_transfer_params": presented}), split.request_id)


TRANSFER_ID = Protocol(
    name="transfer-id",
    prefill_request=_prefill_request,
    decode_request=_decode_request,
    concurrent=True,
    needs_bootstrap=True,
    binds_decode=True,
)
"""Both legs at once, under `xfer-<id>`. An id is for one prompt."""
