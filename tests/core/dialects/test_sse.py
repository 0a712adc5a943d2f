"""Bytes to events, the same at every cut. The second opinion is the decoder of the openai package."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._streaming import SSEDecoder

from replayproxy.core.dialects.sse import BOM, Decoder, Event, encode, events_of

STREAMS = {
    "as vLLM writes it": (
        b'data: {"a":1}\n\ndata: {"b":"\xe4\xbd\xa0\xe5\xa5\xbd"}\n\ndata: [DONE]\n\n',
        [("message", '{"a":1}'), ("message", '{"b":"你好"}'), ("message", "[DONE]")],
    ),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [("message", "a\nb"), ("message", "c")]),
    "CR": (b"data: a\rdata: b\r\rdata: c\r\r", [("message", "a\nb"), ("message", "c")]),
    "all three": (b"data: a\rdata: b\ndata: c\r\n\n\rdata: d\n\r\n", [("message", "a\nb\nc"), ("message", "d")]),
    "a name": (b"event: ping\ndata: x\n\ndata: y\n\n", [("ping", "x"), ("message", "y")]),
    "a name that nothing follows is forgotten": (b"event: ping\n\ndata: y\n\n", [("message", "y")]),
    "comments, ids, retry and the unknown": (b": hi\nid: 7\nretry: 9\nwhat: x\n\n:\ndata: y\n\n", [("message", "y")]),
    "one space is taken off": (b"data:  a\n\ndata:b\n\n", [("message", " a"), ("message", "b")]),
    "empty data is an event": (b"data\n\ndata:\ndata:\n\n", [("message", ""), ("message", "\n")]),
    "a colon in the value": (b"data: a: b\n\n", [("message", "a: b")]),
    "byte order mark": (BOM + b"data: a\n\n", [("message", "a")]),
    "only the first mark": (BOM + BOM + b"data: a\n\ndata: b\n\n", [("message", "b")]),
    "half a mark": (BOM[:2], []),
    "no end, no event": (b"data: a\n\ndata: b\n", [("message", "a")]),
    "other line ends are text": (
        b"data: a\x0bb\x0cc\x1dd\xc2\x85e\xe2\x80\xa8f\x00\n\n",
        [("message", "a\x0bb\x0cc\x1dd\x85e\u2028f\x00")],
    ),
    "not UTF-8": (b"data: \xff\xe2\x82\n\n", [("message", "\ufffd\ufffd")]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS.keys())
def test_events_are_the_same_at_every_cut(stream: bytes, events: list[tuple[str, str]]) -> None:
    """In one piece, in two at every byte offset, with an empty piece between, and byte by byte."""
    expected = [Event(*event) for event in events]
    assert list(events_of([stream])) == expected
    for cut in range(len(stream) + 1):
        assert list(events_of([stream[:cut], b"", stream[cut:]])) == expected, f"cut at {cut}"
    assert list(events_of(stream[at : at + 1] for at in range(len(stream)))) == expected


def test_an_event_comes_with_the_byte_that_completes_it() -> None:
    """TTFT hangs on this: also a CR ends a line at once, though a LF may follow."""
    for end in (b"\n", b"\r", b"\r\n"):
        decoder = Decoder()
        assert decoder.feed(b"data: a" + end) == []
        assert decoder.feed(end[:1]) == [Event("message", "a")]
        assert decoder.feed(end[1:]) == []
        assert decoder.feed(b"data: b" + end + end) == [Event("message", "b")]


LINES = st.one_of(
    st.builds(lambda text: b"data: " + text.encode(), st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))),
    st.sampled_from(
        [b"data", b"data:", b"data:x", b": comment", b"unknown: x", b"datax: y", b"da", b"event: e\ndata: n"]
    ),
)
# The openai decoder also gives events that have a name and no data, which the standard forbids: no such lines here.
GENERATED = st.lists(
    st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n"]))
)


@given(GENERATED, st.booleans(), st.lists(st.integers(0, 400)))
def test_we_agree_with_the_openai_package(lines: list[tuple[bytes, bytes]], mark: bool, places: list[int]) -> None:
    """An independent decoder sees the same events, wherever we cut. (It knows no byte order mark: it gets none.)"""
    stream = b"".join(line + end for line, end in lines)
    assert list(events_of(cut(BOM + stream if mark else stream, places))) == list(openai_events(stream))


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces."""
    bounds = sorted({0, len(stream), *(place for place in places if place < len(stream))})
    return [stream[start:stop] for start, stop in pairwise(bounds)]


def openai_events(stream: bytes) -> Iterable[Event]:
    """What the openai package reads from a whole stream."""
    for event in SSEDecoder().iter_bytes(iter([stream])):
        yield Event(event.event or "message", event.data)


@given(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), st.sampled_from(["", "error"]))
def test_what_we_encode_we_decode(text: str, name: str) -> None:
    """`encode` writes one event of one line."""
    assert list(events_of([encode(text.encode(), name)])) == [Event(name or "message", text)]
