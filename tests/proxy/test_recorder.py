"""What a tape holds, how it says that an answer ended, and when it lets go."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from replayproxy.core.headers import STORED_OF_REQUESTS
from replayproxy.core.redaction import Redactor
from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Chunk, End, Ending, Head, Headers, Leg, Request
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.exchange_recorder import PIECE_BYTES, ExchangeRecorder
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.tee import Tee
from tests.doubles.fakes import (
    EPOCH,
    JSON,
    MILLISECOND,
    SECOND,
    SSE,
    FakeSource,
    HearingListener,
    InMemoryArchive,
    ManualClock,
    answer,
    turns,
)

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
DONE = b"data: [DONE]\n\n"
STOPPED = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed"}\n\n'
GZIPPED: Headers = (*SSE, ("content-encoding", "gzip"))
SALT = b"0123456789abcdef"


class Studio:
    """A recorder and what it is given."""

    def __init__(self, *rules: str, block: bool = False) -> None:
        self.clock = ManualClock()
        self.archive = InMemoryArchive()
        self.tally = Counters()
        self.recorder = Recorder(self.archive, self.clock, self.tally, Redactor(SALT, rules), block=block)

    def tape(self, path: str = CHAT, headers: Headers = (), body: bytes = b"{}") -> ExchangeRecorder:
        """A tape for a request."""
        return self.recorder.record(Request("POST", path, headers, body))


def leave() -> None:
    """The client hangs up: its handler is cancelled."""
    raise asyncio.CancelledError


def fail(error: UpstreamError) -> Callable[[], None]:
    """The server fails before its head."""

    def failing() -> None:
        raise error

    return failing


# How an answer ended

ENDINGS: list[tuple[str, Headers | None, list[bytes], Callable[[], None], Ending]] = [
    (CHAT, None, [], leave, Ending.CLIENT_LEFT),
    (CHAT, SSE, [], leave, Ending.CLIENT_LEFT),
    (CHAT, SSE, [b"data: 1\n\n"], leave, Ending.CLIENT_LEFT),
    (CHAT, SSE, [b"data: 1\n\n", DONE], leave, Ending.COMPLETE),
    (CHAT, SSE, [b"data: 1\n\n", DONE[:7], DONE[7:9], DONE[9:]], leave, Ending.COMPLETE),
    (CHAT, SSE, [b"data: 1\n\n" + DONE], leave, Ending.COMPLETE),
    (CHAT, SSE, [b"data: 1\n\n", DONE[:7]], leave, Ending.CLIENT_LEFT),
    (CHAT, (("Content-Type", "text/event-stream; charset=utf-8"),), [DONE], leave, Ending.COMPLETE),
    (CHAT, JSON, [DONE], leave, Ending.CLIENT_LEFT),
    (CHAT, SSE, [STOPPED], leave, Ending.CLIENT_LEFT),
    ("/v1/completions?x", SSE, [DONE], leave, Ending.COMPLETE),
    (MESSAGES, SSE, [STOPPED], leave, Ending.COMPLETE),
    (MESSAGES, SSE, [DONE], leave, Ending.CLIENT_LEFT),
    (RESPONSES, SSE, [COMPLETED], leave, Ending.COMPLETE),
    ("/v1/other", SSE, [DONE], leave, Ending.COMPLETE),
    ("/v1/other", SSE, [b"data: 1\n\n"], leave, Ending.CLIENT_LEFT),
    (CHAT, SSE, [b"data: 1\n\n", b"data:[DO", b"NE]\r\r"], leave, Ending.COMPLETE),
    (CHAT, SSE, [DONE, *[b": and so on\n\n"] * 9], leave, Ending.COMPLETE),
    (CHAT, SSE, [b'data: {"error":{"message":"no"}}\n\n'], leave, Ending.COMPLETE),
    (CHAT, GZIPPED, [gzip.compress(b"data: 1\n\n"), gzip.compress(DONE)], leave, Ending.COMPLETE),
    (CHAT, GZIPPED, [gzip.compress(b"data: 1\n\n"), gzip.compress(DONE)[:-20]], leave, Ending.CLIENT_LEFT),
    (RESPONSES, SSE, [COMPLETED.replace(b"}", b',"x":"' + b"y" * 60_000 + b'"}')], leave, Ending.COMPLETE),
    (CHAT, None, [], fail(UpstreamUnreachable("nobody")), Ending.UPSTREAM_CUT),
    (CHAT, None, [], fail(UpstreamGarbled("noise")), Ending.UPSTREAM_CUT),
    (CHAT, None, [], fail(UpstreamTimeout("silent")), Ending.TIMEOUT),
]


def record(
    studio: Studio, tape: ExchangeRecorder, head: Headers | None, chunks: list[bytes], last: Callable[[], None]
) -> None:
    """Let a tape hear this, a millisecond each, and then what ends it."""

    async def hear() -> None:
        with tape:
            if head is not None:
                await tape.head(Head(studio.clock.now(), 200, head))
            for chunk in chunks:
                studio.clock.move(MILLISECOND)
                tape.chunk(Chunk(studio.clock.now(), chunk))
            studio.clock.move(MILLISECOND)
            last()

    with pytest.raises((asyncio.CancelledError, UpstreamError)):
        asyncio.run(hear())


@pytest.mark.parametrize(("path", "head", "chunks", "last", "ending"), ENDINGS)
def test_how_a_broken_answer_ended(
    path: str, head: Headers | None, chunks: list[bytes], last: Callable[[], None], ending: Ending
) -> None:
    """By who left. A client that hangs up once the server has said everything has heard a whole answer.

    What was heard is kept whatever happens, with the time when it was over.
    """
    studio = Studio()
    record(studio, studio.tape(path), head, chunks, last)
    (piece,) = studio.archive.pieces
    assert piece.end == End((len(chunks) + 1) * MILLISECOND, ending)
    assert piece.client_left == (last is leave)
    assert [chunk.data for chunk in piece.chunks] == chunks
    assert piece.head == (None if head is None else Head(0, 200, head))
    assert studio.tally.endings == {ending.name.lower(): 1}


STOPPING: list[tuple[list[bytes], Callable[[], None], Ending]] = [
    ([b"data: 1\n\n"], leave, Ending.PROXY_STOPPED),
    ([], leave, Ending.PROXY_STOPPED),
    ([DONE], leave, Ending.COMPLETE),
    ([], fail(UpstreamGarbled("noise")), Ending.UPSTREAM_CUT),
]


@pytest.mark.parametrize(("chunks", "last", "ending"), STOPPING)
def test_who_is_cut_by_our_own_stopping(chunks: list[bytes], last: Callable[[], None], ending: Ending) -> None:
    """The proxy, unless the server had said everything or failed by itself."""
    studio = Studio()
    studio.recorder.stopping = True
    record(studio, studio.tape(), SSE, chunks, last)
    assert [(piece.end.ending, piece.client_left) for piece in studio.archive.pieces if piece.end] == [(ending, False)]


@pytest.mark.parametrize("ending", list(Ending))
def test_an_end_that_was_heard_is_the_end(ending: Ending) -> None:
    """Also where the client goes while it is told."""
    studio = Studio()

    async def hear() -> None:
        with studio.tape() as tape:
            await tape.head(Head(1, 200, SSE))
            await tape.end(End(2, ending))
            leave()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hear())
    assert [piece.end for piece in studio.archive.pieces] == [End(2, ending)]


def test_a_terminal_event_is_seen_across_pieces() -> None:
    """What was let go of before the client left still counts as said."""
    studio = Studio()

    async def hear() -> None:
        with studio.tape() as tape:
            await tape.head(Head(0, 200, SSE))
            tape.chunk(Chunk(1, DONE[:-1]))
            tape.flush()
            tape.chunk(Chunk(2, DONE[-1:]))
            leave()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hear())
    assert [piece.end and piece.end.ending for piece in studio.archive.pieces] == [None, Ending.COMPLETE]


# Letting go


def test_a_tape_lets_go_every_64_kib() -> None:
    """Each piece holds what came since the one before; together they are the answer."""
    studio = Studio()
    chunk = b"x" * 9_999 + b"\n"
    count = 20

    async def hear() -> None:
        with studio.tape() as tape:
            await tape.head(Head(0, 200, SSE))
            for number in range(count):
                tape.chunk(Chunk(number, chunk))
            await tape.end(End(count, Ending.COMPLETE))

    asyncio.run(hear())
    a_piece = -(-PIECE_BYTES // len(chunk))
    assert [(len(piece.chunks), piece.end is None) for piece in studio.archive.pieces] == [
        (a_piece, True),
        (a_piece, True),
        (count - 2 * a_piece, False),
    ]
    assert studio.archive.responses()[0].body == chunk * count
    assert {(piece.number, piece.head, piece.request.body) for piece in studio.archive.pieces} == {
        (1, Head(0, 200, SSE), b"{}")
    }


class ScriptedClock(ManualClock):
    """Does something at each wait, and is cancelled when there is nothing left to do."""

    def __init__(self, *scenes: Callable[[], None]) -> None:
        super().__init__()
        self._scenes = list(scenes)

    async def sleep_until(self, at: int) -> None:
        """Time passes, and with it a scene."""
        await super().sleep_until(at)
        if not self._scenes:
            raise asyncio.CancelledError
        self._scenes.pop(0)()


def test_streams_in_flight_let_go_every_second() -> None:
    """Of what they have said since; nothing where nothing was said, and nothing once they are over."""
    archive, tapes = InMemoryArchive(), list[ExchangeRecorder]()

    def open_tape() -> None:
        tapes.append(recorder.record(Request("POST", CHAT)).__enter__())

    def open_another() -> None:
        open_tape()
        tapes[0].chunk(Chunk(clock.now(), b"b\n"))
        tapes[1].chunk(Chunk(clock.now(), b"c\n"))

    def end_one() -> None:
        tapes[1].__exit__(None, None, None)
        tapes[0].chunk(Chunk(clock.now(), b"e\n"))

    def nothing() -> None:
        pass

    def say(tape: int, data: bytes) -> Callable[[], None]:
        return lambda: tapes[tape].chunk(Chunk(clock.now(), data))

    clock = ScriptedClock(
        open_tape,
        say(0, b"a\n"),
        open_another,
        nothing,
        say(1, b"d\n"),
        end_one,
    )
    recorder = Recorder(archive, clock, Counters(), Redactor(SALT))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(recorder.run())
    said = [[(b"".join(c.data for c in piece.chunks), piece.end is not None) for piece in t] for t in archive.tapes()]
    assert sorted(said) == [
        [(b"a\n", False), (b"b\n", False), (b"e\n", False)],
        [(b"c\n", False), (b"d\n", False), (b"", True)],
    ]
    assert clock.slept == [second * SECOND for second in range(1, 8)]


def test_streams_in_flight_let_go_in_turns() -> None:
    """Each within a second of the last time, and not all of them in one turn of the loop."""
    archive, tapes, kept = InMemoryArchive(), list[ExchangeRecorder](), list[int]()

    def begin() -> None:
        for _ in range(30):
            tapes.append(recorder.record(Request("POST", CHAT)).__enter__())
            clock.move(SECOND // 30)

    def speak() -> None:
        kept.append(len(archive.pieces))
        for tape in tapes:
            tape.chunk(Chunk(clock.now(), b"a\n"))

    clock = ScriptedClock(begin, *[speak] * 40)
    recorder = Recorder(archive, clock, Counters(), Redactor(SALT))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(recorder.run())
    assert max(after - before for before, after in pairwise(kept)) <= 3
    for number in range(1, 31):
        first, second = (piece.chunks.times[-1] for piece in archive.pieces if piece.number == number)
        assert 0 < second - first <= SECOND


CROWDS = {1: SECOND, 100: SECOND, 250: 2.5 * SECOND, 1000: 5 * SECOND}
"""Streams in flight, and how long each waits for its flush."""


@pytest.mark.parametrize(("streams", "wait"), CROWDS.items())
def test_many_streams_in_flight_are_flushed_less_often(streams: int, wait: float) -> None:
    """At most a hundred per second, so that they cost no more; none waits longer than five seconds."""
    archive, flushed_at = InMemoryArchive(), dict[int, list[int]]()

    def begin() -> None:
        recorders.extend(recorder.record(Request("POST", CHAT)).__enter__() for _ in range(streams))

    def receive() -> None:
        for part in archive.pieces:
            flushed_at.setdefault(part.number, []).append(clock.now())
        archive.pieces.clear()
        for exchange in recorders:
            exchange.chunk(Chunk(clock.now(), b"a\n"))

    recorders: list[ExchangeRecorder] = []
    clock = ScriptedClock(begin, *[receive] * (240 if streams > 1 else 4))
    recorder = Recorder(archive, clock, Counters(), Redactor(SALT))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(recorder.run())
    last = [second - first for times in flushed_at.values() for first, second in pairwise(times)]
    assert last
    assert max(last) <= wait
    # A turn is a twentieth of a second; the first streams of a crowd do not know yet how many there will be.
    assert max(last) >= wait - SECOND // 10


# An archive that is full


def stream(tape: ExchangeRecorder, clock: ManualClock, pieces: int) -> None:
    """Enough for so many pieces, and an end."""

    async def hear() -> None:
        with tape:
            await tape.head(Head(0, 200, SSE))
            for number in range(pieces):
                tape.chunk(Chunk(number, b"x" * PIECE_BYTES))
            await tape.end(End(pieces, Ending.COMPLETE))
        recorder = tape._recorder
        assert isinstance(recorder, Recorder)
        await recorder.finish()

    asyncio.run(hear())


def test_a_full_archive_loses_the_whole_exchange_once() -> None:
    """It is dropped by number, with the reason, one time; nothing more of it is offered, also when there is room."""
    studio = Studio()
    with studio.tape() as first:
        first.chunk(Chunk(0, b"x" * PIECE_BYTES))
        studio.archive.full = True
        first.chunk(Chunk(1, b"x" * PIECE_BYTES))
        first.chunk(Chunk(2, b"x" * PIECE_BYTES))
        studio.archive.full = False
        first.chunk(Chunk(3, b"x" * PIECE_BYTES))
    stream(studio.tape(), studio.clock, 2)
    assert studio.archive.dropped == [(1, "queue full")]
    assert studio.archive.refused == 1
    assert {piece.number for piece in studio.archive.pieces} == {2}
    assert studio.tally.endings == {"client_left": 1, "complete": 1}


def test_a_short_answer_is_lost_as_a_whole_too() -> None:
    """One piece, refused, dropped; the traffic notices nothing."""
    studio = Studio()
    studio.archive.full = True
    stream(studio.tape(), studio.clock, 0)
    assert (studio.archive.dropped, studio.archive.pieces) == ([(1, "queue full")], [])


def test_who_chose_to_block_waits_and_loses_nothing() -> None:
    """`--on-full block`: while the archive is full the source is held up, in the stream and at its end."""
    studio = Studio(block=True)
    log: list[str] = []
    big = answer((0, b"x" * PIECE_BYTES), (1, b"y" * PIECE_BYTES), (2, b"z"))

    async def play() -> bool:
        client = HearingListener(log, studio.clock)
        source = FakeSource(log, studio.clock, [big])
        studio.archive.full = True
        with studio.tape() as tape:
            playing = asyncio.create_task(source.play(Request("POST", CHAT), Tee(client, tape)))
            await turns()
            waited = not playing.done() and len(log) == 3
            studio.archive.empty()
            await playing
        await studio.recorder.finish()
        return waited

    assert asyncio.run(play())
    assert studio.archive.responses() == [big]
    assert (studio.archive.dropped, studio.tally.stalled) == ([], 1)


def test_who_chose_to_block_does_not_pass_on_what_there_is_no_room_for() -> None:
    """A client that opens a connection for each request would not notice that its last answer waits."""

    async def admitted(studio: Studio) -> tuple[bool, bool]:
        free = await studio.recorder.admit()
        studio.archive.full = True
        waiting = asyncio.create_task(studio.recorder.admit())
        await turns()
        waited = not waiting.done()
        studio.archive.empty()
        return free, waited and await waiting

    assert asyncio.run(admitted(Studio(block=True))) == (False, True)
    assert asyncio.run(admitted(Studio())) == (False, False)


def test_who_chose_to_block_waits_at_the_end_of_a_short_answer() -> None:
    """The client has all of it; its next request waits for the archive."""
    studio = Studio(block=True)
    log: list[str] = []

    async def play() -> bool:
        client = HearingListener(log, studio.clock)
        with studio.tape() as tape:
            both = Tee(client, tape)
            await both.head(Head(0, 200, JSON))
            studio.archive.full = True
            ending = asyncio.create_task(both.end(End(0, Ending.COMPLETE)))
            await turns()
            waited = not ending.done() and log[-1].endswith("the end: COMPLETE")
            studio.archive.empty()
            await ending
        return waited

    assert asyncio.run(play())
    assert (len(studio.archive.responses()), studio.archive.dropped) == (1, [])


def test_who_chose_to_drop_never_waits() -> None:
    """However full the archive is, the tape is not congested."""
    studio = Studio()
    studio.archive.full = True
    assert not studio.tape().congested


# What is kept of a request and an answer

SECRETS: Headers = (
    ("Authorization", "Bearer sk-secret"),
    ("authorization", "Bearer sk-secret"),
    ("Proxy-Authorization", "Basic secret"),
    ("Cookie", "session=secret"),
    ("X-Api-Key", "secret"),
    ("Api-Key", "secret"),
    ("X-Replayproxy-Scope", "secret"),
    ("Forwarded", "for=secret"),
    ("Host", "secret"),
)
SECRETS_OF_ANSWERS: Headers = (
    ("Set-Cookie", "session=secret"),
    ("set-cookie", "session=secret"),
    ("Authentication-Info", "nextnonce=secret"),
    ("Authorization", "secret"),
    ("X-Vendor-Token", "secret"),
)


def test_only_allowed_field_lines_are_on_any_piece() -> None:
    """In their order and spelling; no credential, whatever its name, is ever handed to an archive."""
    asked = tuple((name.title(), "v") for name in sorted(STORED_OF_REQUESTS))
    kept = ["www-authenticate", "link", "mcp-session-id", "x-inference-pod", "link", "x-ratelimit-foo"]
    said = (*((name.upper(), "v") for name in kept), ("X-Empty", ""), ("Content-ENCODING", "identity"))
    studio = Studio()

    async def hear() -> None:
        with studio.tape(headers=(*SECRETS, *asked, *SECRETS)) as tape:
            await tape.head(Head(0, 200, (*SECRETS_OF_ANSWERS, *said, *SECRETS_OF_ANSWERS)))
            tape.chunk(Chunk(0, b"x\n" * PIECE_BYTES))
            await tape.end(End(1, Ending.COMPLETE))

    asyncio.run(hear())
    assert len(studio.archive.pieces) == 2
    for piece in studio.archive.pieces:
        assert piece.request.headers == asked
        assert piece.head is not None
        assert piece.head.headers == said
        assert "secret" not in repr(piece)


def test_legs_are_kept_with_the_last_piece_and_without_secrets() -> None:
    """Those of a pair, in their order, with the field lines that may be kept; the client is told of them too."""
    said = answer((1, b"x"), headers=(*SECRETS_OF_ANSWERS, ("Content-Type", "application/json")))
    asked = Request("POST", CHAT, (*SECRETS, ("Accept", "*/*")), b"{}")
    studio = Studio()

    async def hear() -> None:
        with studio.tape() as tape:
            both = Tee(HearingListener([], studio.clock), tape)
            await both.head(Head(0, 200, SSE))
            both.leg(Leg("prefill", "http://p", asked, said, 1))
            both.leg(Leg("decode", "http://d", asked, said, 2))
            await both.end(End(1, Ending.COMPLETE))

    asyncio.run(hear())
    (piece,) = studio.archive.pieces
    assert [(leg.role, leg.upstream, leg.started) for leg in piece.legs] == [
        ("prefill", "http://p", 1),
        ("decode", "http://d", 2),
    ]
    assert {leg.request.headers for leg in piece.legs} == {(("Accept", "*/*"),)}
    assert {leg.response.headers for leg in piece.legs} == {(("Content-Type", "application/json"),)}
    assert "secret" not in repr(piece)


def test_a_recording_is_dated_when_its_request_was_complete() -> None:
    """And names nothing that the story did not know: no key, no scope."""
    studio = Studio()
    studio.clock.move(5)
    tape = studio.tape()
    studio.clock.move(7)
    with tape:
        pass
    (piece,) = studio.archive.pieces
    assert (piece.recorded_at, piece.key, piece.scope, piece.stalled, piece.legs) == (EPOCH + 5, None, "", 0, ())


# Uploads


async def uploading(clock: ManualClock, *pieces: bytes) -> AsyncIterator[bytes]:
    """A second a piece."""
    for piece in pieces:
        clock.move(SECOND)
        yield piece


def test_an_upload_becomes_the_body() -> None:
    """Passed on piece by piece; the request is complete, and dated, when the last one came; times count from there."""
    studio = Studio()
    passed: list[bytes] = []

    async def hear() -> None:
        with studio.tape(body=b"") as tape:
            async for piece in tape.recording_upload(uploading(studio.clock, b"a", b"b", b"c")):
                passed.append(piece)
                studio.clock.move(SECOND)
            await tape.head(Head(0, 200, SSE))
            studio.clock.move(MILLISECOND)
            leave()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hear())
    (piece,) = studio.archive.pieces
    assert passed == [b"a", b"b", b"c"]
    assert (piece.request.body, piece.recorded_at) == (b"abc", EPOCH + 6 * SECOND)
    assert piece.end == End(MILLISECOND, Ending.CLIENT_LEFT)


def test_an_upload_in_tiny_parts_takes_little_more_than_its_bytes() -> None:
    """They are kept together in blocks, not one object for each."""
    studio = Studio()

    async def dialogue() -> int:
        with studio.tape(body=b"") as tape:
            async for _ in tape.recording_upload(uploading(studio.clock, *[b"ab"] * 1000)):
                pass
            return len(tape._uploaded)

    assert asyncio.run(dialogue()) == 1
    [piece] = studio.archive.pieces
    assert piece.request.body == b"ab" * 1000


def test_an_upload_that_nobody_finishes_is_kept_as_far_as_it_came() -> None:
    """A server that answers and stops reading; a client that goes in the middle."""
    studio = Studio()

    async def answered_early() -> None:
        with studio.tape(body=b"") as tape:
            heard = tape.recording_upload(uploading(studio.clock, b"a", b"b", b"c"))
            await anext(heard)
            await anext(heard)
            await tape.head(Head(0, 413, JSON))
            await tape.end(End(1, Ending.COMPLETE))

    async def gone() -> None:
        async def dying() -> AsyncIterator[bytes]:
            yield b"d"
            leave()

        with studio.tape(body=b"") as tape:
            async for _ in tape.recording_upload(dying()):
                pass

    asyncio.run(answered_early())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(gone())
    assert [(p.request.body, p.end and p.end.ending, p.request_cut) for p in studio.archive.pieces] == [
        (b"ab", Ending.COMPLETE, True),
        (b"d", Ending.CLIENT_LEFT, True),
    ]


EXPECT: Headers = (("Content-Length", "3"), ("Expect", "100-continue"))


@pytest.mark.parametrize(
    ("fields", "reads", "head", "cut", "stored"),
    [
        (EXPECT, 0, True, False, EXPECT),  # kept back by the client: that is what it was asked
        (EXPECT, 0, False, True, EXPECT[:1]),  # no answer: nobody knows what it would have been
        (EXPECT, 1, True, True, EXPECT[:1]),
        (EXPECT, 9, True, False, EXPECT[:1]),
        (EXPECT[:1], 0, True, True, EXPECT[:1]),  # it did not wait: more of it may have been on its way
        (EXPECT[:1], 9, True, False, EXPECT[:1]),
    ],
)
def test_a_request_that_was_not_read_to_its_end_says_so(
    fields: Headers, reads: int, head: bool, cut: bool, stored: Headers
) -> None:
    """Except one whose body the client kept back, because it was answered instead of asked for it."""
    studio = Studio()

    async def hear() -> None:
        with studio.tape(headers=fields, body=b"") as tape:
            heard = tape.recording_upload(uploading(studio.clock, b"a", b"b", b"c"))
            for _ in range(reads):
                await anext(heard, None)
            if head:
                await tape.head(Head(0, 401, JSON))
                await tape.end(End(1, Ending.COMPLETE))

    asyncio.run(hear())
    (piece,) = studio.archive.pieces
    assert (piece.request_cut, piece.request.headers) == (cut, stored)


def test_an_answer_that_begins_before_the_upload_ends_waits_for_it() -> None:
    """Every piece has the whole body, for in half of it a secret may be cut."""
    studio = Studio()

    async def hear() -> None:
        with studio.tape(body=b"") as tape:
            heard = tape.recording_upload(uploading(studio.clock, b"a", b"b"))
            await anext(heard)
            await tape.head(Head(0, 200, SSE))
            tape.chunk(Chunk(1, b"x\n"))
            tape.flush()
            assert [piece async for piece in heard] == [b"b"]
            tape.chunk(Chunk(2, b"y\n"))
            tape.flush()
            await tape.end(End(3, Ending.COMPLETE))

    asyncio.run(hear())
    said = [(piece.request.body, piece.chunks.body) for piece in studio.archive.pieces]
    assert said == [(b"ab", b"x\ny\n"), (b"ab", b"")]


# Client and tape together


def test_a_slow_client_is_waited_for_and_counted() -> None:
    """Every chunk goes to both; a pause is counted on the tape and in the tally: times are then not the server's."""
    studio = Studio()
    log: list[str] = []
    said = answer((0, b"a"), (10 * MILLISECOND, b"b"), (20 * MILLISECOND, b"c"))

    async def play() -> None:
        client = HearingListener(log, studio.clock, congested_after=[2], pause=30 * MILLISECOND)
        with studio.tape() as tape:
            await FakeSource([], studio.clock, [said]).play(Request("POST", CHAT), Tee(client, tape))

    asyncio.run(play())
    assert log == [
        "0 client hears 200",
        "0 client hears a",
        "10 client hears b",
        "40 client has caught up",
        "40 client hears c",
        "40 client hears the end: COMPLETE",
    ]
    assert studio.archive.responses() == [said]
    assert [piece.stalled for piece in studio.archive.pieces] == [1]
    assert studio.tally.stalled == 1


class LeavingListener(HearingListener):
    """A client that is gone by the time of its head, or of its end."""

    def __init__(self, clock: ManualClock, leaves_at: str) -> None:
        super().__init__([], clock)
        self._leaves_at = leaves_at

    async def head(self, head: Head) -> None:
        """Perhaps leave."""
        if self._leaves_at == "head":
            leave()

    async def end(self, end: End) -> None:
        """Perhaps leave."""
        if self._leaves_at == "end":
            leave()


@pytest.mark.parametrize(
    ("leaves_at", "head", "ending"),
    [("head", Head(0, 200, SSE), Ending.CLIENT_LEFT), ("end", Head(0, 200, SSE), Ending.COMPLETE)],
)
def test_the_tape_hears_first(leaves_at: str, head: Head, ending: Ending) -> None:
    """What the server said before the client went is on it: its head, and its end."""
    studio = Studio()

    async def play() -> None:
        with studio.tape() as tape:
            both = Tee(LeavingListener(studio.clock, leaves_at), tape)
            await FakeSource([], studio.clock, [answer((0, b"a"))]).play(Request("POST", CHAT), both)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(play())
    (piece,) = studio.archive.pieces
    assert piece.head == head
    assert piece.end is not None
    assert piece.end.ending is ending


def test_a_burst_goes_to_both() -> None:
    """A simulated or recorded answer may be recorded too: chunk by chunk on the tape, in one for the client."""
    studio = Studio()
    log: list[str] = []
    said = answer((1, b"a"), (2, b"b"))

    async def play() -> None:
        with studio.tape() as tape:
            both = Tee(HearingListener(log, studio.clock), tape)
            await both.head(Head(1, 200, SSE))
            both.burst(said)
            await both.end(End(2, Ending.COMPLETE))

    asyncio.run(play())
    assert log == ["0 client hears 200", "0 client hears at once a b", "0 client hears the end: COMPLETE"]
    assert studio.archive.responses() == [said]


# Secrets

KEY = "s3cret-k3y-0123456789"
ASKED: Headers = (("Authorization", f"Bearer {KEY}"), *JSON)


def test_no_piece_has_a_secret_whenever_it_is_let_go() -> None:
    """The credentials of a request are known to its tape, and echo nowhere: request, head, chunks."""

    async def test() -> None:
        studio = Studio()
        with studio.tape(headers=ASKED, body=b'{"prompt":"%b"}' % KEY.encode()) as tape:
            await tape.head(Head(0, 200, (*SSE, ("X-Request-Id", KEY), ("Set-Cookie", "id=s3ssion-value"))))
            for at, letter in enumerate(f"it is {KEY}, s3ssion-value"):
                tape.chunk(Chunk(at, b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % letter.encode()))
                tape.flush()
            await tape.end(End(99, Ending.COMPLETE))
        assert len(studio.archive.pieces) > 5
        said = b"".join(chunk.data for piece in studio.archive.pieces for chunk in piece.chunks)
        text = b"".join(re.findall(rb'"content":"(.)"', said)).decode()
        assert re.fullmatch(r"it is \*~redacted~\*+, \*~redacted~\*+", text)
        assert KEY not in repr(studio.archive.pieces)
        assert len(text) == len(f"it is {KEY}, s3ssion-value")

    asyncio.run(test())


def test_no_leg_has_a_secret() -> None:
    """Neither what a server was asked nor what it said."""

    async def test() -> None:
        studio = Studio()
        with studio.tape(headers=ASKED) as tape:
            asked = Request("POST", CHAT, ASKED, b'{"prompt":"%b"}' % KEY.encode())
            tape.leg(Leg("prefill", "http://p", asked, answer((1, b'{"echo":"%b"}' % KEY.encode()), headers=JSON)))
            await tape.end(End(9, Ending.COMPLETE))
        (piece,) = studio.archive.pieces
        assert len(piece.legs) == 1
        assert KEY not in repr(piece)

    asyncio.run(test())


def test_a_request_that_is_still_arriving_is_not_kept_in_part() -> None:
    """It may have been cut within a secret; whole, it is kept without."""

    async def test() -> None:
        studio = Studio()

        async def upload() -> AsyncIterator[bytes]:
            yield b"my key is " + KEY[:9].encode()
            tape.chunk(Chunk(1, b"early"))
            tape.flush()
            assert studio.archive.pieces == []
            yield KEY[9:].encode()

        with studio.tape(headers=ASKED, body=b"") as tape:
            await tape.head(Head(0, 200, ()))
            assert b"".join([piece async for piece in tape.recording_upload(upload())]).endswith(KEY.encode())
            tape.chunk(Chunk(2, b" and late"))
            tape.flush()
            await tape.end(End(3, Ending.COMPLETE))
        assert studio.archive.pieces[0].request.body == b"my key is *~redacted~*".ljust(10 + len(KEY), b"*")
        assert studio.archive.responses()[0].body == b"early and late"

    asyncio.run(test())


def test_with_a_rule_for_bodies_an_answer_is_kept_when_it_ends() -> None:
    """What a pattern matches may end anywhere."""

    async def test() -> None:
        studio = Studio("re:a+b")
        with studio.tape(headers=ASKED) as tape:
            await tape.head(Head(0, 200, ()))
            for at, data in enumerate((b"xaa", b"aaa", b"abx")):
                tape.chunk(Chunk(at, data))
                tape.flush()
            assert studio.archive.pieces == []
            await tape.end(End(3, Ending.COMPLETE))
        assert studio.archive.responses()[0].body == b"x*******x"

    asyncio.run(test())


def test_an_answer_that_is_too_long_to_be_judged_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never half of it, and never in silence."""
    monkeypatch.setattr("replayproxy.core.redaction.stream_redactor.MAX_HELD_BYTES", 10)

    async def test() -> None:
        studio = Studio("re:secret")
        with studio.tape(headers=ASKED) as tape:
            await tape.head(Head(0, 200, ()))
            for at in range(3):
                tape.chunk(Chunk(at, b"0123456789"))
                tape.flush()
            await tape.end(End(3, Ending.COMPLETE))
        assert studio.archive.pieces == []
        assert [reason for _, reason in studio.archive.dropped] == ["too long to look for secrets"]

    asyncio.run(test())
