"""`transfer-id`: the exact requests on both legs."""

from __future__ import annotations

import pytest

from replayproxy.core.pd.transfer_id import TRANSFER_ID
from tests.core.pd.split_requests import CHAT, CUT_FIELDS, CUTS, MINT, TURN, WHOLE_FIELDS, Body, parts_of, split_request

TO_PREFILL = {"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": f"xfer-{MINT}"}
TO_DECODE = {
    "do_remote_decode": False,
    "do_remote_prefill": True,
    "remote_bootstrap_addr": "http://p1:8998",
    "remote_engine_id": "engine-7",
    "transfer_id": f"xfer-{MINT}",
}


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(path: str, body: Body, cut: Body) -> None:
    """One id on both; prefill is told its rank, decode the engine and where it is."""
    split = split_request(path, body)
    fields = (*CUT_FIELDS[:-1], ("X-data-parallel-rank", "3"), CUT_FIELDS[-1])
    assert parts_of(TRANSFER_ID.prefill_request(split)) == (
        "POST",
        path,
        fields,
        cut | {"kv_transfer_params": TO_PREFILL},
    )
    assert parts_of(TRANSFER_ID.decode_request(split, None)) == (
        *("POST", path, WHOLE_FIELDS),
        body | {"kv_transfer_params": TO_DECODE},
    )


def test_the_clients_rank_is_decodes_and_ours_is_prefills() -> None:
    """The engine that decode is told of is that of the rank."""
    split = split_request(CHAT, {"messages": TURN}, headers=(("x-data-parallel-rank", "9"),))
    assert TRANSFER_ID.prefill_request(split).headers == (("X-data-parallel-rank", "3"), ("X-Request-Id", "req-1"))
    assert TRANSFER_ID.decode_request(split, None).headers == (
        ("x-data-parallel-rank", "9"),
        ("X-Request-Id", "req-1"),
    )
