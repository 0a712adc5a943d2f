"""Other chunks, the same bytes, and none of them earlier than it was recorded."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from replayproxy.core import rechunking
from replayproxy.core.rechunking import FORMS, Rechunking
from replayproxy.model import Headers, RecordingRef, Response
from tests.doubles.fakes import JSON, SSE, answer

PLACE = RecordingRef("rp1:00", 0)
STREAM = answer((10, b"data: a\n\ndata: \xc3"), (20, b"\xa9\n"), (30, b"\ndata: \xf0\x9f\x98\x80\n\n"))


def pieces(form: str, response: Response = STREAM, place: RecordingRef = PLACE) -> list[tuple[int, bytes]]:
    """The chunks with their times."""
    return [(chunk.at, chunk.data) for chunk in Rechunking.parse(form).apply(response, place).chunks()]


def test_one_event_each() -> None:
    """Cut behind each blank line; an event is there when its last byte is."""
    assert pieces("one-event") == [
        (10, b"data: a\n\n"),
        (30, b"data: \xc3\xa9\n\n"),
        (30, b"data: \xf0\x9f\x98\x80\n\n"),
    ]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"a\r\n\r\nb\r\n\r\n", [b"a\r\n\r\n", b"b\r\n\r\n"]),
        (b"a\rb\r\rc", [b"a\rb\r\r", b"c"]),
        (b"id: 1\r\ndata: x\r\n\r\n", [b"id: 1\r\ndata: x\r\n\r\n"]),
        (b"no end", [b"no end"]),
    ],
)
def test_lines_end_in_three_ways(body: bytes, events: list[bytes]) -> None:
    """CR, LF and CRLF (WHATWG HTML 9.2.5); the end of one line is no blank line."""
    assert [data for _, data in pieces("one-event", answer((0, body)))] == events


def test_a_character_is_cut_in_the_middle() -> None:
    """Behind its first byte, besides the recorded cuts."""
    assert [data for _, data in pieces("split-utf8")] == [
        b"data: a\n\ndata: \xc3",
        b"\xa9\n",
        b"\ndata: \xf0",
        b"\x9f\x98\x80\n\n",
    ]


def test_joined_is_one_chunk_at_the_end() -> None:
    """As of a gateway that buffers."""
    assert pieces("joined") == [(30, STREAM.body)]


def test_one_byte_each() -> None:
    """Each at the time of the chunk that it was received in."""
    found = pieces("one-byte")
    assert [data for _, data in found] == [bytes([byte]) for byte in STREAM.body]
    assert [at for at, _ in found] == [10] * 16 + [20] * 2 + [30] * 13


def test_random_sizes_follow_from_seed_key_and_occurrence() -> None:
    """Equal for equal ones, and different for each other."""
    long = answer((1, b"x" * 5000))
    sizes = {
        name: tuple(len(data) for _, data in pieces(form, long, place))
        for name, form, place in (
            ("first", "random:7", PLACE),
            ("again", "random:7", PLACE),
            ("seed", "random:8", PLACE),
            ("key", "random:7", RecordingRef("rp1:01", 0)),
            ("occurrence", "random:7", RecordingRef("rp1:00", 1)),
        )
    }
    assert sizes["first"] == sizes["again"]
    assert len(set(sizes.values())) == 4
    assert max(sizes["first"]) > 100
    assert min(sizes["first"]) < 5


@pytest.mark.parametrize("form", [*FORMS, "random:1", "random:2"])
def test_no_byte_changes_and_none_comes_early(form: str) -> None:
    """Whatever was recorded, reads that ended within an HTTP chunk and empty ones too."""
    chance = random.Random(form)
    for _ in range(60):
        chunks = [(at, chance.randbytes(chance.choice((0, 1, 7, 40)))) for at in range(chance.randrange(1, 6))]
        recorded = answer(*chunks, headers=chance.choice((SSE, JSON)))
        cut = Rechunking.parse(form).apply(recorded, PLACE)
        assert cut.body == recorded.body
        assert (cut.status, cut.headers, cut.ending) == (recorded.status, recorded.headers, recorded.ending)
        ends = list(accumulate(recorded.cuts))
        for end, at in zip(accumulate(cut.cuts), cut.timeline.chunks, strict=True):
            assert at >= next(time for stop, time in zip(ends, recorded.timeline.chunks, strict=True) if stop >= end)


@pytest.mark.parametrize(("form", "changes"), [("one-event", False), ("split-utf8", False), ("one-byte", True)])
def test_a_coded_body_has_neither_events_nor_characters(form: str, changes: bool) -> None:
    """It keeps its chunks, unless bytes alone count."""
    fields: Headers = (*SSE, ("Content-Encoding", "gzip"))
    coded = answer((1, b"\x1f\x8b\n\n\xc3\xa9"), (2, b"\n\nx"), headers=fields)
    assert (Rechunking.parse(form).apply(coded, PLACE).cuts != coded.cuts) is changes


@pytest.mark.parametrize("form", ["one-byte", "random:3"])
def test_a_long_answer_is_bounded(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the first bytes, its recorded chunks."""
    monkeypatch.setattr(rechunking, "MOST_BYTES", 100)
    long = answer((1, b"x" * 150), (2, b"y" * 1000), (3, b"z" * 1000))
    cut = Rechunking.parse(form).apply(long, PLACE)
    assert cut.body == long.body
    assert len(cut.cuts) <= 103
    assert cut.cuts[-1] == 1000


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("two-bytes", "choose from one-byte, one-event, joined, split-utf8 and random:SEED"),
        ("random", "write random:7"),
        ("random:", "write random:7"),
        ("random:x", "write random:7"),
        ("joined:3", "choose from"),
        ("", "choose from"),
    ],
)
def test_another_form_is_explained(text: str, hint: str) -> None:
    """With what to write."""
    with pytest.raises(ValueError, match=hint):
        Rechunking.parse(text)
