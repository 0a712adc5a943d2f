"""Buckets fill at an even rate, and a refused request is told exactly when to come back."""

from __future__ import annotations

import orjson
import pytest

from replayproxy.core.faults.rate_limits import RateLimits, estimated_tokens

SECOND = 1_000_000_000


def refused(limits: RateLimits, at: float, tokens: int = 1) -> float | None:
    """The wait of a request at this second; None if it is let in."""
    refusal = limits.admit(round(at * SECOND), tokens, "m")
    return None if refusal is None else refusal.wait


def test_a_minute_has_so_many_requests_and_not_more() -> None:
    """Three at once, then one every twenty seconds."""
    limits = RateLimits(rpm=3)
    assert [refused(limits, at) for at in (0, 0, 0, 0, 10, 20, 20.5, 40)] == pytest.approx(
        [None, None, None, 20.0, 10.0, None, 19.5, None]
    )


def test_a_request_comes_back_when_it_was_told_to() -> None:
    """The wait is exact: at its end the request is let in, a moment before it is not."""
    limits = RateLimits(rpm=7)
    for _ in range(7):
        assert refused(limits, 5) is None
    wait = refused(limits, 5)
    assert wait is not None
    assert refused(limits, 5 + wait - 0.01) is not None
    assert refused(limits, 5 + wait + 0.001) is None


def test_tokens_are_a_bucket_of_their_own() -> None:
    """A refused request takes nothing out of either bucket; one larger than the bucket waits until it is full."""
    limits = RateLimits(rpm=10, tpm=600)
    assert refused(limits, 0, 500) is None
    assert refused(limits, 0, 200) == pytest.approx(10.0)
    assert refused(limits, 0, 100) is None
    assert refused(limits, 0, 10_000) == pytest.approx(60.0)
    assert refused(limits, 60, 10_000) is None
    fields = dict(limits.fields(60 * SECOND))
    assert fields["x-ratelimit-remaining-requests"] == "9"
    assert fields["x-ratelimit-remaining-tokens"] == "0"


def test_a_refusal_is_openais() -> None:
    """Body and fields by which its SDKs, and people, know what to do."""
    limits = RateLimits(rpm=3)
    for _ in range(3):
        limits.admit(0, 1, "gpt")
    refusal = limits.admit(0, 1, "gpt")
    assert refusal is not None
    assert refusal.limit == "--rpm 3"
    assert refusal.response.status == 429
    assert orjson.loads(refusal.response.body)["error"] == {
        "message": "Rate limit reached for gpt on requests per min (RPM): Limit 3, Used 3, Requested 1. Please"
        " try again in 20s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    fields = dict(refusal.response.headers)
    assert fields["Retry-After"] == "20"
    assert (fields["x-ratelimit-limit-requests"], fields["x-ratelimit-reset-requests"]) == ("3", "1m0s")


@pytest.mark.parametrize(
    ("body", "most", "tokens"), [(b"x" * 400, None, 100), (b"x" * 400, 250, 250), (b"", "many", 1), (b"", -3, 1)]
)
def test_tokens_are_estimated(body: bytes, most: object, tokens: int) -> None:
    """A quarter of the characters, or what may be generated, whichever is more."""
    assert estimated_tokens(body, most) == tokens


def test_time_that_goes_back_fills_nothing() -> None:
    """Two requests may be seen in another order than they came in."""
    limits = RateLimits(rpm=1)
    assert refused(limits, 10) is None
    assert refused(limits, 9) == pytest.approx(60.0, abs=1.1)
    assert refused(limits, 69) is not None
    assert refused(limits, 70) is None
