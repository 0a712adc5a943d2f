"""The digest of an exchange: any difference that a client could see is another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.cassette.coding import digests
from replayproxy.cassette.coding.times import TICK
from replayproxy.model import Ending, Leg, Request, Response, Timeline

KEY = "rp1:00"
FIELDS = (("Content-Type", "text/event-stream"), ("X-Kept", "yes"))
ASKED = Request("POST", "/v1/x?a=1", FIELDS, b'{"model":"m"}')
RESPONSE = Response(
    200, FIELDS, b"data: one\n\n" * 3, (11, 11, 11), Timeline(TICK, (2 * TICK, 9 * TICK, 12 * TICK), 13 * TICK)
)

OTHERS: dict[str, Response] = {
    "status": replace(RESPONSE, status=201),
    "a field": replace(RESPONSE, headers=FIELDS[:-1]),
    "order of the fields": replace(RESPONSE, headers=FIELDS[::-1]),
    "the body": replace(RESPONSE, body=RESPONSE.body[:-1] + b"x"),
    "a cut": replace(RESPONSE, cuts=(RESPONSE.cuts[0] - 1, RESPONSE.cuts[1] + 1, RESPONSE.cuts[2])),
    "time of the head": replace(RESPONSE, timeline=replace(RESPONSE.timeline, head=0)),
    "time of a chunk": replace(RESPONSE, timeline=replace(RESPONSE.timeline, chunks=(2 * TICK, 8 * TICK, 12 * TICK))),
    "time of the end": replace(RESPONSE, timeline=replace(RESPONSE.timeline, end=14 * TICK)),
    "the ending": replace(RESPONSE, ending=Ending.UPSTREAM_CUT),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_the_digest_covers_everything_that_replay_emits(other: Response) -> None:
    """One difference, another digest."""
    assert digests.digest(KEY, ASKED, other) != digests.digest(KEY, ASKED, RESPONSE)


def test_the_digest_covers_key_and_request() -> None:
    """But not what is below a tick, which the cassette does not hold."""
    golden = digests.digest(KEY, ASKED, RESPONSE)
    others = [
        replace(ASKED, method="GET"),
        replace(ASKED, target="/"),
        replace(ASKED, headers=()),
        replace(ASKED, body=b""),
    ]
    assert golden not in [
        digests.digest("rp1:01", ASKED, RESPONSE),
        *(digests.digest(KEY, other, RESPONSE) for other in others),
    ]
    finer = replace(RESPONSE, timeline=replace(RESPONSE.timeline, end=13 * TICK + 1))
    assert digests.digest(KEY, ASKED, finer) == golden


def test_the_digest_of_a_leg_covers_whom_we_asked_and_when() -> None:
    """Beside all that the digest of an exchange covers, with the key of its exchange."""
    leg = Leg("prefill", "http://a:1", ASKED, RESPONSE, 5_000_000)
    others = [
        replace(leg, role="decode"),
        replace(leg, upstream="http://b:1"),
        replace(leg, started=6_000_000),
        replace(leg, request=replace(ASKED, body=b"")),
        replace(leg, response=replace(RESPONSE, status=201)),
    ]
    all_of_them = {digests.digest_of_leg(KEY, one) for one in (leg, *others)}
    assert len({*all_of_them, digests.digest_of_leg("rp1:01", leg)}) == len(others) + 2
