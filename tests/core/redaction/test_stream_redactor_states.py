"""The states of a stream redactor, compared by their representation."""

from __future__ import annotations

import pytest

from replayproxy.core.redaction import Redactor, stream_redactor
from replayproxy.core.redaction.credentials import NONE
from replayproxy.core.redaction.event_text import Format
from replayproxy.model import Chunk, Chunks, Head
from tests.doubles.fakes import SSE


def chunk(data: bytes) -> Chunks:
    """One chunk."""
    return Chunks.of([Chunk(0, data)])


def test_a_stream_is_decided_as_it_arrives() -> None:
    """It counts the bytes that wait, and is finished once."""
    redactor = Redactor(b"salt").stream_redactor(NONE)
    redactor.head(Head(0, 200, SSE))
    states = [repr(redactor)]
    redactor.feed(chunk(b"data: x\n"))
    states.append(repr(redactor))
    redactor.decide()
    states.append(repr(redactor))
    redactor.finish(None)
    states.append(repr(redactor))
    assert states == [
        "<StreamRedactor STREAMING EVENTS, 0 bytes undecided>",
        "<StreamRedactor STREAMING EVENTS, 8 bytes undecided>",
        "<StreamRedactor STREAMING EVENTS, 0 bytes undecided>",
        "<StreamRedactor FINISHED EVENTS, 0 bytes undecided>",
    ]


@pytest.mark.parametrize("fields", [(("Content-Encoding", "gzip"),), ()], ids=["coded", "incremental"])
def test_a_body_that_is_too_long_is_discarded(
    fields: tuple[tuple[str, str], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is returned, then or later, and later chunks need no memory."""
    monkeypatch.setattr(stream_redactor, "MAX_HELD_BYTES", 10)
    redactor = Redactor(b"salt").stream_redactor(NONE)
    redactor.head(Head(0, 200, fields))
    redactor.feed(chunk(b"x" * 11))
    kept = [redactor.decide()]
    redactor.feed(chunk(b"y" * 5))
    kept.append(redactor.decide())
    assert kept == [Chunks(), Chunks()]
    assert repr(redactor) == "<StreamRedactor TOO_LONG TEXT, 0 bytes undecided>"
    assert redactor.too_long


FORMATS = [
    ("text/event-stream; charset=utf-8", b"data: ", Format.EVENTS),
    ("text/event-stream", b"[{", Format.EVENTS),
    ("application/json", b'{"a"', Format.JSON),
    ("application/json", b'[{"a"', Format.JSON_LIST),
    ("application/json", b"data: ", Format.EVENTS),
    ("text/plain", b"event:", Format.EVENTS),
    ("text/plain", b"{", Format.JSON),
    ("application/json", b"Sorry", Format.JSON),
    ("", b"Sorry", Format.TEXT),
]


@pytest.mark.parametrize(("media_type", "start", "expected"), FORMATS)
def test_format(media_type: str, start: bytes, expected: Format) -> None:
    """The content type declares a format; the first bytes of the body decide."""
    assert Format.declared(media_type).seen_from(start) is expected
