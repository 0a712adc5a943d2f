"""`addr-id`: the exact requests on both legs."""

from __future__ import annotations

import re

import pytest

from replayproxy.core.pd.addr_id import AddrId
from tests.core.pd.asked import CUT_FIELDS, CUTS, MINT, SENT, Body, asked, seen

ADDRESSES = f"___prefill_addr_10.0.0.1:21001___decode_addr_10.0.0.2:22001_{MINT}"
ID_LINE = ("X-Request-Id", ADDRESSES)


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(path: str, body: Body, cut: Body) -> None:
    """One id on both, made of both connectors' addresses; decode gets the client's bytes."""
    given = asked(path, body)
    assert seen(AddrId().prefill_request(given)) == ("POST", path, (*CUT_FIELDS[:-1], ID_LINE), cut)
    decode = AddrId().decode_request(given, None)
    rest = tuple(line for line in SENT if line[0].lower() != "x-request-id")
    assert (decode.method, decode.target, decode.headers) == ("POST", path, (*rest, ID_LINE))
    assert decode.body is given.request.body


def test_connectors_find_each_other_in_the_id() -> None:
    """The two expressions are those of vLLM's P2pNcclConnector."""
    decode = re.search(r"___decode_addr_(.*):(\d+)", ADDRESSES)
    prefill = re.search(r"___prefill_addr_(.*):(\d+)___", ADDRESSES)
    assert decode is not None
    assert prefill is not None
    assert decode.groups() == ("10.0.0.2", "22001")
    assert prefill.groups() == ("10.0.0.1", "21001")
