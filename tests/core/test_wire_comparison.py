"""One answer before and behind a gateway."""

from __future__ import annotations

import pytest

from replayproxy.core.wire_comparison import WireDifference, compare_on_wire
from replayproxy.model import Ending, Response
from tests.doubles.fakes import JSON, MILLISECOND, SSE, answer

MS = MILLISECOND
A, B, C = b"data: a\n\n", b"data: b\n\n", b"data: c\n\n"
SENT = answer((10 * MS, A), (20 * MS, B), (30 * MS, C))


@pytest.mark.parametrize(
    ("behind", "difference"),
    [
        (SENT, None),
        (answer((10 * MS, A + B + C)), None),
        (
            answer((10 * MS, A), (20 * MS, b"data: B\n\n"), (30 * MS, C)),
            WireDifference("bytes", 15, b"b\n\n" + C, b"B\n\n" + C),
        ),
        (answer((10 * MS, A), (20 * MS, B)), WireDifference("length", 18, C, b"")),
        (answer((10 * MS, A + B + C + C)), WireDifference("length", 27, b"", C)),
        (answer((10 * MS, A + B + C), status=502), WireDifference("status", 0, b"200", b"502")),
        (
            answer((10 * MS, A + B + C), ending=Ending.UPSTREAM_CUT),
            WireDifference("ending", 27, b"complete", b"upstream_cut"),
        ),
        (
            answer((10 * MS, A + B + C), headers=(*SSE, ("Content-Encoding", "gzip"))),
            WireDifference("coding", 0, b"none", b"gzip"),
        ),
    ],
)
def test_the_first_difference(behind: Response, difference: WireDifference | None) -> None:
    """Other chunks are none."""
    assert compare_on_wire(SENT, behind).difference == difference


def test_every_first_difference_is_found() -> None:
    """At each byte of a body, also the first and the last."""
    body = bytes(range(200))
    for at in range(200):
        changed = body[:at] + b"\xff" + body[at + 1 :]
        found = compare_on_wire(answer((0, body)), answer((0, changed))).difference
        assert found is not None
        assert (found.what, found.at) == ("bytes", at)


def test_latency_is_per_chunk() -> None:
    """Of the last byte of each chunk, wherever the gateway has cut."""
    behind = answer((12 * MS, A + B[:3]), (26 * MS, B[3:]), (33 * MS, C))
    assert compare_on_wire(SENT, behind).added == (2 * MS, 6 * MS, 3 * MS)


@pytest.mark.parametrize(
    ("behind", "held", "longest"),
    [
        (answer((11 * MS, A), (21 * MS, B), (31 * MS, C)), 0, 0),
        (answer((31 * MS, A + B + C)), 2, 20 * MS),
        (answer((11 * MS, A), (31 * MS, B + C)), 1, 10 * MS),
        (answer((21 * MS, A + B[:4]), (31 * MS, B[4:] + C)), 1, 10 * MS),
        (answer((40 * MS, A), (50 * MS, B), (60 * MS, C)), 0, 0),
    ],
)
def test_events_are_held_back_until_a_later_one_is_there(behind: Response, held: int, longest: int) -> None:
    """An even delay holds nothing back; the longest hold is beyond the least latency."""
    found = compare_on_wire(SENT, behind)
    assert (found.events, found.held, found.longest_hold) == (3, held, longest)


def test_events_that_were_sent_together_are_not_held_back() -> None:
    """A recorder reads at once what comes within a moment."""
    sent = answer((10 * MS, A), (10 * MS + 5, B), (11 * MS, C))
    assert compare_on_wire(sent, answer((12 * MS, A + B + C))).held == 0


def test_latency_ends_where_bytes_differ() -> None:
    """Behind that, offsets mean nothing."""
    behind = answer((12 * MS, A), (22 * MS, b"data: x\n\n"), (32 * MS, C))
    assert compare_on_wire(SENT, behind).added == (2 * MS,)


def test_other_bodies_have_chunks_for_events() -> None:
    """JSON, and an answer without a body."""
    found = compare_on_wire(answer((1, b"{"), (2, b"}"), headers=JSON), answer((3, b"{}"), headers=JSON))
    assert (found.events, found.added) == (2, (2, 1))
    nothing = answer(headers=JSON)
    assert compare_on_wire(nothing, nothing).difference is None
