"""Which event ends a stream, in each dialect, however it is spelled, coded and cut."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import brotli
import pytest
import zstandard

from replayproxy.core.dialects import stream_end
from replayproxy.core.dialects.sse import BOM, Decoder
from replayproxy.core.dialects.stream_end import StreamEnd, end_of, missing_end
from replayproxy.core.dialects.table import dialect_of
from replayproxy.model import Chunk, End, Ending, Head, Headers, Response

CHAT, RESPONSES, MESSAGES, OTHER = "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/realtime"
PLAIN: Headers = (("Content-Type", "text/event-stream"),)
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"data: [DONE]"},"finish_reason":"stop"}],"error":null}\n\n'
DONE = b"data: [DONE]\n\n"


def ended(path: str, *parts: bytes, fields: Headers = PLAIN) -> bool:
    """Whether a stream of these bytes has ended."""
    end = StreamEnd(path, fields)
    for part in parts:
        end.feed(part)
    return end.ended


ENDS: list[tuple[str, str, bytes]] = [
    ("as vLLM spells it", CHAT, DONE),
    ("no space", CHAT, b"data:[DONE]\n\n"),
    ("two spaces", CHAT, b"data:  [DONE]\n\n"),
    ("CRLF", CHAT, b"data: [DONE]\r\n\r\n"),
    ("lone CR", CHAT, b"data: [DONE]\r\r"),
    ("each kind of line end", CHAT, b"data: [DONE]\r\n\r"),
    ("a byte order mark", CHAT, BOM + DONE),
    ("an id and a comment within", CHAT, b": so\nid: 7\ndata: [DONE]\nretry: 9\n\n"),
    ("a name", CHAT, b"event: done\ndata: [DONE]\n\n"),
    ("comments behind", CHAT, DONE + b": OPENROUTER PROCESSING\n\n" * 1000),
    ("an event behind", CHAT, DONE + TOKEN),
    ("completions", "/v1/completions", DONE),
    ("a prefix", "/openai/deployments/gpt/chat/completions", DONE),
    ("slashes", "//v1/chat/completions/", DONE),
    ("an error as data", CHAT, b'data: {"error":{"message":"no","code":500}}\n\n'),
    ("an error that is a string", CHAT, b'data: {"error": "overloaded"}\n\n'),
    ("an error by name", CHAT, b"event: error\ndata: overloaded\n\n"),
    ("an error, comments behind it", CHAT, b'data: {"error":{}, "\\u0065rror":{"a":1}}\n\n: bye\n\n'),
    ("an error over two lines", CHAT, b'data: {"error":\ndata: {"message":"no"}}\n\n'),
    ("message_stop", MESSAGES, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ("message_stop by name alone", MESSAGES, b"event: message_stop\ndata\n\n"),
    ("message_stop without a name", MESSAGES, b'data: {"type" : "message_stop"}\n\n'),
    ("message_stop in escapes", MESSAGES, b'data: {"type":"message\\u005fstop"}\n\n'),
    ("message_stop, then what vLLM adds", MESSAGES, b"event: message_stop\ndata: {}\n\n" + DONE),
    ("Anthropic's error", MESSAGES, b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'),
    ("response.completed", RESPONSES, b'event: response.completed\ndata: {"type":"response.completed"}\n\n'),
    ("response.completed of 9 kB", RESPONSES, b'data: {"type":"response.completed","x":"' + b"y" * 9000 + b'"}\n\n'),
    ("response.completed, its type last", RESPONSES, b'data: {"x":{"type":"y"},"type":"response.completed"}\n\n'),
    ("response.failed", RESPONSES, b'data: {"type":"response.failed"}\n\n'),
    ("response.incomplete", RESPONSES, b'data: {"type":"response.incomplete"}\n\n'),
    ("an error of responses", RESPONSES, b'data: {"type":"error","code":"server_error","message":"no"}\n\n'),
    ("[DONE] elsewhere: SGLang", "/generate", DONE),
    ("speech", "/v1/audio/speech", b'data: {"type":"speech.audio.done","usage":{}}\n\n'),
    ("transcription", "/v1/audio/transcriptions", b'data: {"type":"transcript.text.done","text":"a"}\n\n'),
    ("an image", "/v1/images/generations", b"event: image_generation.completed\ndata: {}\n\n"),
    ("realtime", OTHER, b'data: {"type":"response.done"}\n\n'),
    ("responses elsewhere", "/v1/responses/resp_1", b"event: response.completed\ndata: {}\n\n"),
]

GO_ON: list[tuple[str, str, bytes]] = [
    ("nothing", CHAT, b""),
    ("a token that says [DONE], and a finish reason for one of n", CHAT, TOKEN),
    ("no blank line", CHAT, b"data: [DONE]\n"),
    ("no line end", CHAT, b"data: [DONE]"),
    ("a comment", CHAT, b": data: [DONE]\n\n"),
    ("another field", CHAT, b"date: [DONE]\n\n"),
    ("another case", CHAT, b"Data: [DONE]\n\n"),
    ("more data", CHAT, b"data: [DONE]\ndata: x\n\n"),
    ("an id", CHAT, b"id: [DONE]\ndata: x\n\n"),
    ("a name", CHAT, b"event: [DONE]\ndata: x\n\n"),
    ("a space before the field", CHAT, b" data: [DONE]\n\n"),
    ("a byte order mark in the middle", CHAT, TOKEN + BOM + DONE),
    ("an error that is none", CHAT, b'data: {"choices":[],"error":null}\n\n'),
    ("an error within", CHAT, b'data: {"choices":[{"error":{"message":"no"}}]}\n\n'),
    ("an error, and then more", CHAT, b'data: {"error":{"message":"no"}}\n\n' + TOKEN),
    ("the end of another dialect", CHAT, b"event: message_stop\ndata: {}\n\n"),
    ("[DONE] to an Anthropic client", MESSAGES, DONE),
    ("message_delta", MESSAGES, b'data: {"type":"message_delta","delta":{"text":"message_stop"}}\n\n'),
    ("a name that nothing follows", MESSAGES, b"event: message_stop\n\n"),
    ("a type further down", RESPONSES, b'data: {"type":"x","response":{"type":"response.completed"}}\n\n'),
    ("a response that has no error", RESPONSES, b'data: {"type":"response.created","response":{"error":null}}\n\n'),
    ("not JSON", RESPONSES, b'data: {"type":"response.completed"\n\n'),
    ("unknown events", OTHER, b"event: tick\ndata: 1\n\n"),
]


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """In one piece, byte by byte, and in two at some places."""
    yield [stream]
    if len(stream) < 2000:
        yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(max(0, len(stream) - 40), len(stream)):
        yield [stream[:at], b"", stream[at:]]


@pytest.mark.parametrize("before", [b"", TOKEN * 3], ids=["alone", "after tokens"])
@pytest.mark.parametrize(("path", "last"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_what_ends_a_stream(path: str, last: bytes, before: bytes) -> None:
    """At its last event it has ended, and not a byte before."""
    stream = before + last if not last.startswith(BOM) else last
    for parts in cuts(stream):
        assert ended(path, *parts)


@pytest.mark.parametrize(("path", "last"), [row[1:] for row in GO_ON], ids=[row[0] for row in GO_ON])
def test_what_does_not(path: str, last: bytes) -> None:
    """What only looks like an end, or is one in another dialect."""
    for parts in cuts(last):
        assert not ended(path, *parts)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_stream_ends_with_the_byte_that_completes_its_last_event(end: bytes) -> None:
    """Not before, and not later: a client that has it may leave."""
    stream = TOKEN + b"data: [DONE]" + end + end
    first = next(at for at in range(len(stream) + 1) if ended(CHAT, stream[:at]))
    assert first == len(stream) - (len(end) - 1)  # of the last CRLF, the CR is enough


def test_which_dialects_promise_an_end() -> None:
    """Elsewhere a stream without one may be whole, and HTTP decides."""
    labels = {
        path: (dialect_of(path).end.label, StreamEnd(path, PLAIN).must_end) for path in (CHAT, RESPONSES, MESSAGES)
    }
    assert labels == {
        CHAT: ("[DONE]", True),
        RESPONSES: ("response.completed", True),
        MESSAGES: ("message_stop", True),
    }
    assert not StreamEnd(OTHER, PLAIN).must_end
    assert not StreamEnd(CHAT, (*PLAIN, ("Content-Encoding", "compress"))).must_end
    assert not ended(CHAT, DONE, fields=(*PLAIN, ("Content-Encoding", "compress")))


def answered(body: bytes, ending: Ending = Ending.COMPLETE, status: int = 200, fields: Headers = PLAIN) -> Response:
    """An answer of one chunk."""
    return Response.of(Head(0, status, fields), [Chunk(1, body)], End(2, ending))


@pytest.mark.parametrize(
    ("path", "last", "label"),
    [
        (CHAT, b"", "[DONE]"),
        ("/v1/completions", b"", "[DONE]"),
        (CHAT, b"data: [DONE]\n", "[DONE]"),
        (CHAT, DONE, None),
        (CHAT, b'data: {"error":{"message":"no"}}\n\n', None),
        (RESPONSES, b"", "response.completed"),
        (RESPONSES, b"event: response.incomplete\ndata: {}\n\n", None),
        (MESSAGES, b"", "message_stop"),
        (MESSAGES, DONE, "message_stop"),
        (MESSAGES, b'data: {"type":"message_stop"}\n\n', None),
        (OTHER, b"", None),
    ],
)
def test_what_a_stream_that_http_ended_well_lacks(path: str, last: bytes, label: str | None) -> None:
    """It is whole, and people are told."""
    assert missing_end(path, answered(TOKEN + last)) == label
    coded = answered(gzip.compress(TOKEN + last), fields=(*PLAIN, ("Content-Encoding", "gzip")))
    assert missing_end(path, coded) == label


def test_what_lacks_nothing() -> None:
    """What is marked otherwise, is no stream, is an error, or cannot be read."""
    assert missing_end(CHAT, answered(TOKEN, Ending.UPSTREAM_CUT)) is None
    assert missing_end(CHAT, answered(TOKEN, Ending.CLIENT_LEFT)) is None
    assert missing_end(CHAT, answered(TOKEN, status=503)) is None
    assert missing_end(CHAT, answered(TOKEN, fields=(("Content-Type", "application/json"),))) is None
    assert missing_end(CHAT, answered(TOKEN, fields=(*PLAIN, ("Content-Encoding", "compress")))) is None


def _flushed_gzip(parts: list[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)


def _flushed_deflate(parts: list[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj()
    for part in parts:
        yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)


def _flushed_zstd(parts: list[bytes]) -> Iterator[bytes]:
    packer = zstandard.ZstdCompressor().compressobj()
    for part in parts:
        yield packer.compress(part) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def _flushed_br(parts: list[bytes]) -> Iterator[bytes]:
    packer = brotli.Compressor()
    for part in parts:
        yield packer.process(part) + packer.flush()


CODED: list[tuple[str, Callable[[list[bytes]], Iterator[bytes]]]] = [
    ("gzip", _flushed_gzip),
    ("x-gzip", lambda parts: (gzip.compress(part) for part in parts)),
    ("deflate", _flushed_deflate),
    ("br", _flushed_br),
    ("zstd", _flushed_zstd),
    ("gzip, zstd", lambda parts: _flushed_zstd(list(_flushed_gzip(parts)))),
    ("identity", iter),
]


@pytest.mark.parametrize(("coding", "coded"), CODED, ids=[row[0] for row in CODED])
def test_a_coded_stream_is_read_through_its_coding(
    coding: str, coded: Callable[[list[bytes]], Iterator[bytes]]
) -> None:
    """A server flushes at each event; the end of the coding itself need not have come. `x-gzip` here: many members."""
    fields = (*PLAIN, ("Content-Encoding", coding))
    chunks = list(coded([TOKEN, TOKEN, DONE]))
    assert ended(CHAT, *chunks, fields=fields)
    assert not ended(CHAT, *chunks[:2], fields=fields)
    everything = b"".join(chunks)
    assert ended(CHAT, *(everything[at : at + 1] for at in range(len(everything))), fields=fields)


def test_damage_is_no_end() -> None:
    """A coding that does not hold says nothing, and nothing fails."""
    fields = (*PLAIN, ("Content-Encoding", "gzip"))
    assert not ended(CHAT, b"\x1f\x8b" + DONE, b"\xff" * 100, DONE, fields=fields)


def test_the_verdict_on_a_stored_answer_is_the_same() -> None:
    """`show` says of a recording what the recorder saw."""
    chunks = [Chunk(1, TOKEN), Chunk(2, DONE)]
    assert end_of(CHAT, Response.of(Head(0, 200, PLAIN), chunks, End(3, Ending.COMPLETE))).ended
    assert not end_of(CHAT, Response.of(Head(0, 200, PLAIN), chunks[:1], End(3, Ending.CLIENT_LEFT))).ended


# Cost


def allocated(feed: Callable[[bytes], object], data: bytes, size: int) -> int:
    """Bytes that were allocated while this was fed in pieces: what is copied again and again counts again and again."""
    feed(b"")
    total = 0
    tracemalloc.start()
    try:
        for at in range(0, len(data), size):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            feed(data[at : at + size])
            total += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return total


FLOODS = {
    "one line without an end": lambda n: b"data: " + b"x" * n,
    "one event without an end": lambda n: b"data: xxxxxxxxxxxxxxxxxxxxxxxx\n" * (n // 32),
    "a comment without an end": lambda n: b":" + b"x" * n,
    "empty lines": lambda n: b"\n" * n,
    "carriage returns": lambda n: b"data: x\r\r" * (n // 9),
    "events": lambda n: TOKEN * (n // len(TOKEN)),
}


@pytest.mark.parametrize("reader", ["events", "end"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_reading_is_linear(flood: Callable[[int], bytes], reader: str) -> None:
    """Twice the bytes cost twice as much, in pieces of 64 bytes as a server sends them."""

    def judged(end: StreamEnd, data: bytes) -> bool:
        end.feed(data)
        return end.ended

    def cost(n: int) -> int:
        feed = Decoder().feed if reader == "events" else partial(judged, StreamEnd(RESPONSES, PLAIN))
        return allocated(feed, flood(n), 64)

    small = cost(100_000)
    assert cost(200_000) < 2.5 * small


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line, of an event and of a name only the beginning stays; what comes behind is read as if nothing were."""
    monkeypatch.setattr(stream_end, "MAX_EVENT_BYTES", 1000)
    for flood in (b"data: " + b"x" * 500, b":" + b"x" * 500, b"data: x\n", b"data\n", b"event: " + b"x" * 500):
        end = StreamEnd(CHAT, PLAIN)
        decoder = end._events
        for _ in range(1000):
            end.feed(flood)
            assert not end.ended
            kept = len(decoder._rest) + sum(map(len, decoder._lines or ())) + len(decoder._lines or ())
            assert kept + len(decoder._name) <= 3000
        end.feed(b"\n\n" + DONE)
        assert end.ended


def test_a_last_event_beyond_all_bounds_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`response.completed` says the whole answer again, with its pictures."""
    monkeypatch.setattr(stream_end, "MAX_EVENT_BYTES", 1000)
    data = b'data: {"type":"response.completed","x":"' + b"y" * 2000 + b'"}\n\n'
    assert ended(RESPONSES, b"event: response.completed\n" + data)
    assert not ended(RESPONSES, data)
