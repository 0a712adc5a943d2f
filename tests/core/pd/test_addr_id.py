"""`addr-id`: the exact requests on both legs."""

from __future__ import annotations

import re

import pytest

from replayproxy.core.pd.addr_id import ADDR_ID
from tests.core.pd.split_requests import CUT_FIELDS, CUTS, MINT, SENT, Body, parts_of, split_request

ADDRESSES = f"___prefill_addr_10.0.0.1:21001___decode_addr_10.0.0.2:22001_{MINT}"
ID_LINE = ("X-Request-Id", ADDRESSES)


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(path: str, body: Body, cut: Body) -> None:
    """One id on both, made of both connectors' addresses; decode gets the client's bytes."""
    split = split_request(path, body)
    assert parts_of(ADDR_ID.prefill_request(split)) == ("POST", path, (*CUT_FIELDS[:-1], ID_LINE), cut)
    decode = ADDR_ID.decode_request(split, None)
    rest = tuple(line for line in SENT if line[0].lower() != "x-request-id")
    assert (decode.method, decode.target, decode.headers) == ("POST", path, (*rest, ID_LINE))
    assert decode.body is split.request.body


def test_connectors_find_each_other_in_the_id() -> None:
    """The two expressions are those of vLLM's P2pNcclConnector."""
    decode = re.search(r"___decode_addr_(.*):(\d+)", ADDRESSES)
    prefill = re.search(r"___prefill_addr_(.*):(\d+)___", ADDRESSES)
    assert decode is not None
    assert prefill is not None
    assert decode.groups() == ("10.0.0.2", "22001")
    assert prefill.groups() == ("10.0.0.1", "21001")
