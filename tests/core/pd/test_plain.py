"""`plain`: the exact requests on both legs."""

from __future__ import annotations

import pytest

from replayproxy.core.pd.plain import PLAIN
from tests.core.pd.split_requests import CUT_FIELDS, CUTS, SENT, Body, parts_of, split_request


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(path: str, body: Body, cut: Body) -> None:
    """Prefill gets one token; decode gets the client's bytes, and of its ids the first."""
    split = split_request(path, body)
    assert parts_of(PLAIN.prefill_request(split)) == ("POST", path, CUT_FIELDS, cut)
    decode = PLAIN.decode_request(split, None)
    rest = tuple(line for line in SENT if line[0].lower() != "x-request-id")
    assert (decode.method, decode.target, decode.headers) == ("POST", path, (*rest, ("X-Request-Id", "req-1")))
    assert decode.body is split.request.body
