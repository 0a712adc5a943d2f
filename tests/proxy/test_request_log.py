"""Tests of `proxy/request_log`: calls by scope, and their limit in bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.model import Request
from replayproxy.proxy.request_log import Call, RequestLog

REQUEST = Request("POST", "/v1/chat/completions", (), b"{}")


def test_a_request_log_knows_whose_calls_are_whose() -> None:
    """By scope, in their order."""
    request_log = RequestLog()
    calls = [Call(REQUEST, scope, "replay") for scope in ("a", "b", "a")]
    for call in calls:
        request_log.add(call)
    assert (request_log.of({"a"}), request_log.of({"b"}), request_log.of({"c"})) == (
        [calls[0], calls[2]],
        [calls[1]],
        [],
    )
    assert request_log.of({"a", "b"}) == request_log.calls == calls
    request_log.forget({"a"})
    assert request_log.calls == [calls[1]]
    assert 0 < request_log.bytes < 1500


def test_a_request_log_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """In bytes: the oldest calls go, which is said once; the newest stays, however long it is."""
    request_log = RequestLog(limit=100_000)
    for number in range(300):
        request_log.add(Call(replace(REQUEST, body=b"%05d" % number * 200), "", "replay"))
    assert request_log.calls[-1].request.body.startswith(b"00299")
    assert (len(request_log.calls) + request_log.forgotten, request_log.bytes <= 100_000) == (300, True)
    request_log.add(Call(replace(REQUEST, body=b"x" * 200_000), "", "replay"))
    assert len(request_log.calls) == 1
    assert (
        len([one for one in caplog.records if "the oldest requests are dropped from here on" in one.getMessage()]) == 1
    )
