"""`plain`: the exact requests on both legs."""

from __future__ import annotations

import pytest

from replayproxy.core.pd.plain import Plain
from tests.core.pd.asked import CUT_FIELDS, CUTS, SENT, Body, asked, seen


@pytest.mark.parametrize(("path", "body", "cut"), CUTS.values(), ids=CUTS.keys())
def test_both_requests(path: str, body: Body, cut: Body) -> None:
    """Prefill gets one token; decode gets the client's bytes, and of its ids the first."""
    given = asked(path, body)
    assert seen(Plain().prefill_request(given)) == ("POST", path, CUT_FIELDS, cut)
    decode = Plain().decode_request(given, None)
    rest = tuple(line for line in SENT if line[0].lower() != "x-request-id")
    assert (decode.method, decode.target, decode.headers) == ("POST", path, (*rest, ("X-Request-Id", "req-1")))
    assert decode.body is given.request.body
