"""One connection to a server, without a socket: what may happen to it in any order, and what it then is.

RFC 9112 section 9.3: a connection whose request was not sent whole, or whose answer was not read whole, is closed. The
reference is a few variables of the test's own, which know nothing of the parser.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replayproxy.errors import ClientError, UpstreamError
from replayproxy.model import Chunk, End, Ending, Head, Leg, Request, Response
from replayproxy.net.upstream_connection import State, UpstreamConnection


class Transport:
    """What the event loop gives to a protocol, without a socket."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.unsent = 0
        self.aborted = False
        self.paused = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    def get_write_buffer_size(self) -> int:
        """What the kernel did not take."""
        return self.unsent

    def is_closing(self) -> bool:
        """Whether it was aborted."""
        return self.aborted

    def abort(self) -> None:
        """The connection is over."""
        self.aborted = True

    def pause_reading(self) -> None:
        """Nothing is delivered from now on."""
        self.paused = True

    def resume_reading(self) -> None:
        """It is again."""
        self.paused = False

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""


class Heard:
    """A listener whose client may be slow."""

    wants_whole = False

    def __init__(self) -> None:
        self.body = b""
        self.ended: End | None = None
        self.congested = False
        self.eased = asyncio.Event()

    async def ready(self) -> None:
        """Wait for the client."""
        await self.eased.wait()

    async def head(self, head: Head) -> None:
        """Nothing to do."""

    def chunk(self, chunk: Chunk) -> None:
        """Keep it; nothing may come behind the end."""
        assert self.ended is None
        self.body += chunk.data

    def burst(self, response: Response) -> None:
        """A live server has none."""

    def leg(self, leg: Leg) -> None:
        """A live server has none."""

    async def end(self, end: End) -> None:
        """Keep it."""
        self.ended = end


@dataclass(frozen=True)
class Kind:
    """An answer: its bytes, its body, whether the connection may be kept after it; `method` is that of the request."""

    name: str
    data: bytes
    body: bytes = b""
    kept: bool = True
    to_eof: bool = False
    method: str = "POST"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
CHUNKS = b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n"
KINDS = (
    Kind("length", HEAD + b"Content-Length: 5\r\n\r\nabcde", b"abcde"),
    Kind("nothing", HEAD + b"Content-Length: 0\r\n\r\n"),
    Kind("chunked", HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + b"\r\n", b"abcde"),
    Kind("trailers", HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + b"X: y\r\n\r\n", b"abcde"),
    Kind("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
    Kind("304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", method="GET"),
    Kind("early 413", b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    Kind("405 after 103", b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    Kind("200 after 100", b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}", b"{}"),
    Kind("close", HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}", b"{}", kept=False),
    Kind("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", kept=False),
    Kind("to the end", HEAD + b"\r\nabcde", b"abcde", kept=False, to_eof=True),
    Kind("HEAD", HEAD + b"Content-Length: 5\r\n\r\n", kept=False, method="HEAD"),
)

Step = tuple[str, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.integers(1, 80)),
        st.tuples(st.just("answer"), st.just(1000)),
        st.tuples(st.sampled_from(["sent", "sent", "body"]), st.just(0)),
        st.tuples(
            st.sampled_from(["eof", "reset", "lost", "time out", "leave", "abandon", "congested", "eased", "unsent"]),
            st.just(0),
        ),
        st.tuples(st.sampled_from(["extra", "extra line"]), st.just(0)),
        st.tuples(st.just("answer and extra"), st.just(0)),
    ),
    max_size=14,
)


@dataclass
class Known:
    """What the test knows: nothing of this is taken from the connection."""

    kind: Kind
    sent: bool = False
    unsent: bool = False
    delivered: int = 0
    over: bool = False
    reusable: bool = False
    complete: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def rest(self) -> bytes:
        """Of the answer."""
        return self.kind.data[self.delivered :]

    def answered(self, size: int) -> None:
        """So many bytes more were read."""
        self.delivered += size
        if not self.rest and not self.over and not self.kind.to_eof:
            self.over = self.complete = True
            self.reusable = self.sent and not self.unsent and self.kind.kept

    def ended(self, *, clean: bool) -> None:
        """The connection is over."""
        if not self.over and self.kind.to_eof and not self.rest:
            self.complete = clean
        self.over = True
        self.reusable = False


async def drive(kind: Kind, upload: bool, script: list[Step]) -> None:  # noqa: PLR0912  a table of what may happen
    """Do the steps; compare after each."""
    transport, heard, known = Transport(), Heard(), Known(kind)
    wire = UpstreamConnection(lambda: 0, "test")
    wire.connection_made(transport)  # type: ignore[arg-type]  # as much as is used of one
    assert repr(wire) == "<Wire to test: IDLE>"
    wire.ask(Request(kind.method, "/v1/x"), 0)
    wire.write(b"head")
    if not upload:
        wire.sent()
        known.sent = True

    async def play() -> None:
        await wire.head()
        heard.ended = await wire.play_body(heard)

    playing = asyncio.create_task(play())
    lost = False
    for name, size in script:
        await settle()
        if lost or (transport.paused and name in ("answer", "extra", "extra line", "answer and extra", "eof")):
            continue
        if transport.aborted and name not in ("lost", "sent"):
            continue
        match name:
            case "answer" if known.rest:
                data = known.rest[:size]
                wire.data_received(data)
                known.answered(len(data))
            case "answer and extra" if known.rest and not kind.to_eof:
                data = known.rest
                wire.data_received(data + b"HTTP/1.1 200 OK\r\nConte")
                known.answered(len(data))
                known.reusable = False
            case "extra" if not known.rest and not kind.to_eof:
                wire.data_received(b"HTTP/1.1 200 OK\r\n")
                known.ended(clean=False)
            case "extra line" if not known.rest and not kind.to_eof:
                wire.data_received(b"\r\n")
                known.ended(clean=False)
            case "sent":
                wire.sent()
                known.sent = known.sent or not known.over
            case "body":
                wire.write(b"more")
            case "unsent":
                transport.unsent = 7
                known.unsent = True
            case "eof":
                wire.eof_received()
                known.ended(clean=True)
            case "reset":
                wire.connection_lost(ConnectionResetError())
                transport.aborted = lost = True
                known.ended(clean=False)
            case "lost":
                wire.connection_lost(None)
                known.ended(clean=not transport.aborted)
                transport.aborted = lost = True
            case "time out":
                wire.time_out("too long")
                known.ended(clean=False)
            case "leave":
                wire.close()
                known.ended(clean=False)
            case "abandon":
                wire.abandon(ClientError("the body is malformed"))
                known.ended(clean=False)
            case "congested":
                heard.congested = True
                heard.eased.clear()
            case "eased":
                heard.congested = False
                heard.eased.set()
        assert (wire.state is State.IDLE) == known.reusable, (wire, known)
        assert known.reusable or known.over == (wire.state is State.CLOSED), (wire, known)
        assert wire.state is not State.IDLE or not transport.paused
    heard.congested = False
    heard.eased.set()
    await settle()
    playing.cancel()
    await asyncio.gather(playing, return_exceptions=True)
    assert kind.body.startswith(heard.body)
    if heard.ended is not None:
        assert (heard.ended.ending is Ending.COMPLETE) == known.complete, (heard.ended, known)
        assert not known.complete or heard.body == kind.body


async def settle() -> None:
    """Let the task that plays have its turns."""
    for _ in range(4):
        await asyncio.sleep(0)


@given(kind=st.sampled_from(KINDS), upload=st.booleans(), script=steps)
@example(KINDS[6], True, [("answer", 40), ("answer", 1000), ("sent", 0)])  # head and body of an early 413 in two reads
@example(KINDS[6], True, [("answer", 1000), ("sent", 0)])
@example(KINDS[6], True, [("answer", 40), ("sent", 0), ("answer", 1000)])
@example(KINDS[0], False, [("answer and extra", 0)])
@example(KINDS[0], False, [("unsent", 0), ("answer", 1000)])
@example(KINDS[2], False, [("congested", 0), ("answer", 60), ("eased", 0), ("answer", 1000)])
def test_a_connection_is_idle_again_only_after_a_whole_request_and_a_whole_answer(
    kind: Kind, upload: bool, script: list[Step]
) -> None:
    """In whatever order the two get on, break off, or are followed by what nobody asked for."""
    asyncio.run(drive(kind, upload, script))


BAD_HEADS: list[tuple[str, bytes]] = [
    ("status 099", b"HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n"),
    ("status 600", b"HTTP/1.1 600 x\r\nContent-Length: 0\r\n\r\n"),
    ("status 999", b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n"),
    ("status 99999", b"HTTP/1.1 99999 x\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/0.9", b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("gzip, chunked", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("identity", HEAD + b"Transfer-Encoding: identity\r\n\r\nabc"),
    ("chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("Connection: content-length", HEAD + b"Connection: close, Content-Length\r\nContent-Length: 2\r\n\r\n{}"),
    ("a head without end", HEAD + b"A: " + b"a" * 300_000),
    ("a reason without end", b"HTTP/1.1 200 " + b"a" * 300_000),
    ("interim answers without end", b"HTTP/1.1 103 Hints\r\n\r\n" * 20_000),
]


@pytest.mark.parametrize("data", [row[1] for row in BAD_HEADS], ids=[row[0] for row in BAD_HEADS])
def test_a_head_that_must_not_be_passed_on_is_an_error_and_closes(data: bytes) -> None:
    """The error says what is wrong; no byte of a body is handed out."""

    async def dialogue() -> None:
        wire, transport = UpstreamConnection(lambda: 0, "test"), Transport()
        wire.connection_made(transport)  # type: ignore[arg-type]  # as much as is used of one
        wire.ask(Request("GET", "/"), 0)
        wire.sent()
        for start in range(0, len(data), 65536):
            wire.data_received(data[start : start + 65536])
        with pytest.raises(UpstreamError, match="test sent what is not HTTP"):
            await asyncio.wait_for(wire.head(), 1)
        assert repr(wire) == "<Wire to test: CLOSED>"
        assert transport.aborted

    asyncio.run(dialogue())


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ((b"2\r\nab\r\n",), [(b"ab", False)]),
        ((b"2\r\nab\r\n3\r\ncde\r\n",), [(b"ab", False), (b"cde", False)]),
        ((b"4\r\nab", b"cd\r\n"), [(b"ab", True), (b"cd", False)]),
        ((b"4\r\na", b"b", b"cd\r\n"), [(b"a", True), (b"b", True), (b"cd", False)]),
        ((b"2\r\nab", b"\r\n1\r\nc\r\n"), [(b"ab", True), (b"", False), (b"c", False)]),
        (
            (b"2\r\nab\r\n", b"2\r\ncd\r\n", b"A\r\n0123456789\r\n"),
            [(b"ab", False), (b"cd", False), (b"0123456789", False)],
        ),
        # What a chunk holds may look like a chunk.
        ((b"1\r\na\r\n", b"7\r\n", b"2\r\nab\r\n", b"\r\n"), [(b"a", False), (b"2\r\nab\r\n", True), (b"", False)]),
    ],
)
def test_each_read_says_whether_it_ended_an_http_chunk(reads: tuple[bytes, ...], expected: list[Any]) -> None:
    """A server's chunk that takes several reads is several chunks, all but the last `continued`."""
    heard: list[Any] = []

    class Listening(Heard):
        def chunk(self, chunk: Chunk) -> None:
            heard.append((chunk.data, chunk.continued))

    async def dialogue() -> None:
        wire = UpstreamConnection(lambda: 0, "test")
        wire.connection_made(Transport())  # type: ignore[arg-type]  # as much as is used of one
        wire.ask(Request("GET", "/"), 0)
        wire.sent()
        wire.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        playing = asyncio.create_task(wire.play_body(Listening()))
        await settle()
        for data in (*reads, b"0\r\n\r\n"):
            wire.data_received(data)
        assert (await playing).ending is Ending.COMPLETE
        assert wire.state is State.IDLE

    asyncio.run(dialogue())
    assert heard == expected


PARTS = (b"2\r\nab\r\n", b"7\r\n2\r\nab\r\n\r\n", b"3;a=b\r\nxyz\r\n", b"a\r\n0123456789\r\n", b"A\r\n0123456789\r\n")
ENDS = (
    b"0\r\n\r\n",
    b"0\r\nx: y\r\n\r\n",
    b"02\r\nab\r\n",
    b"2\r\nabc\r\n",
    b"0\r\n2\r\nab\r\n",
    b"2 \r\nab\r\n",
    b"\r\n",
)


class ParsedOnly(UpstreamConnection):
    """The same without the way past the parser."""

    def data_received(self, data: bytes) -> None:
        """Parse."""
        self._between_chunks = False
        super().data_received(data)


async def outcome(kind: type[UpstreamConnection], reads: list[bytes]) -> tuple[object, ...]:
    """What the listener gets, how it ends, and what the connection then is."""
    chunks: list[Chunk] = []

    class Listening(Heard):
        def chunk(self, chunk: Chunk) -> None:
            chunks.append(chunk)

    wire = kind(lambda: 0, "test")
    wire.connection_made(Transport())  # type: ignore[arg-type]  # as much as is used of one
    wire.ask(Request("GET", "/"), 0)
    wire.sent()
    wire.data_received(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    playing = asyncio.create_task(wire.play_body(Listening()))
    await settle()
    for data in reads:
        wire.data_received(data)
    wire.eof_received()
    assert all(not chunk.frame or chunk.frame == b"%x\r\n%b\r\n" % (len(chunk.data), chunk.data) for chunk in chunks)
    return [chunk._replace(frame=b"") for chunk in chunks], await playing, wire.state, wire.answered_bytes


@given(st.lists(st.sampled_from(PARTS), max_size=6), st.sampled_from(ENDS), st.data())
def test_a_chunk_that_goes_past_the_parser_is_what_the_parser_makes_of_it(
    parts: list[bytes], end: bytes, data: st.DataObject
) -> None:
    """Whole reads, reads cut anywhere, trailers, extensions, and what is not chunked coding."""
    whole = [*parts, end]
    if data.draw(st.booleans(), "cut anywhere"):
        body = b"".join(whole)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6), "cuts"))
        whole = [body[start:stop] for start, stop in pairwise((0, *cuts, len(body))) if start < stop]
    assert asyncio.run(outcome(UpstreamConnection, whole)) == asyncio.run(outcome(ParsedOnly, whole))
