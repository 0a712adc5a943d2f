"""Stand-ins for the world behind the ports: a clock, a server, a shelf, an archive and a client that do as a test says.

They know no socket, no disk and no real time. All of them may write into one list, so that a test compares the whole
conversation at once:

    log = []
    client, server, archive = HearingListener(log, …), FakeSource(log, …), InMemoryArchive(log)
    … assert log == ["server is asked for /v1/chat", "client hears 200", …]
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from replayproxy.errors import Damaged, UpstreamError
from replayproxy.model import Chunk, End, Ending, Head, Headers, Key, Leg, RecordingRef, Request, Response, Timeline
from replayproxy.ports import ExchangePart, Listener, Neighbour, Upload

T = TypeVar("T")

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
EPOCH = 1_760_000_000 * SECOND
"""What a `ManualClock` says at its time 0 when asked for the date."""

SSE: Headers = (("content-type", "text/event-stream"),)
JSON: Headers = (("content-type", "application/json"),)


class ManualClock:
    """Time goes on when somebody waits for it, or when the test moves it, and never by itself."""

    def __init__(self, start: int = 0) -> None:
        self._now = start
        self.slept: list[int] = []
        """Each deadline that was waited for."""

    def now(self) -> int:
        """The time the test has come to."""
        return self._now

    def today(self) -> int:
        """The same as a date."""
        return EPOCH + self._now

    async def sleep_until(self, at: int) -> None:
        """Be there at once. Lets others have their turn, as a real wait does."""
        self.slept.append(at)
        self._now = max(self._now, at)
        await asyncio.sleep(0)

    def move(self, nanoseconds: int) -> None:
        """Time passes."""
        self._now += nanoseconds


async def turns(count: int = 20) -> None:
    """Let everybody else have so many turns of the loop: who has not come to an end by then is waiting."""
    for _ in range(count):
        await asyncio.sleep(0)


def answer(
    *chunks: tuple[int, bytes],
    status: int = 200,
    headers: Headers = SSE,
    head: int | None = None,
    end: int | None = None,
    ending: Ending = Ending.COMPLETE,
) -> Response:
    """A response of chunks with their times; its head comes with the first, its end with the last, unless told."""
    at = tuple(time for time, _ in chunks)
    return Response(
        status=status,
        headers=headers,
        body=b"".join(data for _, data in chunks),
        cuts=tuple(len(data) for _, data in chunks),
        timeline=Timeline(
            head=head if head is not None else (at[0] if at else 0),
            chunks=at,
            end=end if end is not None else (at[-1] if at else head or 0),
        ),
        ending=ending,
    )


def spoken(response: Response) -> str:
    """An answer in a few words: its chunks, and how it ended where that was not well."""
    chunks = " ".join(chunk.data.decode("latin-1").strip() for chunk in response.chunks())
    return chunks if response.ending is Ending.COMPLETE else f"{chunks} … {response.ending.name}".strip()


class HearingListener:
    """A client that writes down what it hears and when. `congested_after` chunks it is full; `ready` takes `pause`."""

    def __init__(
        self, log: list[str], clock: ManualClock, *, congested_after: Sequence[int] = (), pause: int = 0
    ) -> None:
        self._log = log
        self._clock = clock
        self._congested_after = frozenset(congested_after)
        self._pause = pause
        self._chunks = 0
        self.heard: list[Head | Chunk | End] = []

    wants_whole = False

    @property
    def congested(self) -> bool:
        """Whether the last chunk was too much."""
        return self._chunks in self._congested_after

    async def head(self, head: Head) -> None:
        """Note the status."""
        self.heard.append(head)
        self._note(f"hears {head.status}")

    def chunk(self, chunk: Chunk) -> None:
        """Note the bytes."""
        self._chunks += 1
        self.heard.append(chunk)
        self._note(f"hears {chunk.data.decode('latin-1').strip()}")

    def burst(self, response: Response) -> None:
        """Note all of it, as one."""
        self.heard += response.chunks()
        self._note(f"hears at once {' '.join(chunk.data.decode('latin-1').strip() for chunk in response.chunks())}")

    def leg(self, leg: Leg) -> None:
        """Note who said it."""
        self._note(f"is told of the {leg.role} leg")

    async def end(self, end: End) -> None:
        """Note how it ended."""
        self.heard.append(end)
        self._note(f"hears the end: {end.ending.name}")

    async def ready(self) -> None:
        """Take a while to read what was too much."""
        if not self.congested:
            return
        self._congested_after -= {self._chunks}
        self._clock.move(self._pause)
        self._note("has caught up")

    def _note(self, what: str) -> None:
        self._log.append(f"{self._clock.now() // MILLISECOND} client {what}")


@dataclass
class FakeSource:
    """A live server that gives scripted answers in turn, the last one again and again.

    A script is a `Response`, which it plays at its times; an `UpstreamError`, which it raises before the head; or a
    pair of a `Response` and something to call after its last chunk, before any end: to hang up, to fail, to cancel.
    """

    log: list[str]
    clock: ManualClock
    scripts: Sequence[Response | UpstreamError | tuple[Response, Callable[[], None]]]
    asked: list[Request] = field(default_factory=list)
    uploaded: list[bytes] = field(default_factory=list)

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Give the next answer."""
        script = self.scripts[min(len(self.asked), len(self.scripts) - 1)]
        self.asked.append(request)
        self.log.append(f"{self.clock.now() // MILLISECOND} server is asked for {request.method} {request.target}")
        if upload is not None:
            self.uploaded.append(b"".join([piece async for piece in upload]))
        started = self.clock.now()
        if isinstance(script, UpstreamError):
            raise script
        response, last = script if isinstance(script, tuple) else (script, None)
        await self.clock.sleep_until(started + response.timeline.head)
        await listener.head(Head(response.timeline.head, response.status, response.headers))
        for chunk in response.chunks():
            await self.clock.sleep_until(started + chunk.at)
            listener.chunk(chunk)
            if listener.congested:
                await listener.ready()
        if last is not None:
            last()
        await self.clock.sleep_until(started + response.timeline.end)
        await listener.end(End(response.timeline.end, response.ending))


class InMemoryShelf:
    """Recordings in lists."""

    def __init__(self) -> None:
        self.recordings: dict[Key, list[Response]] = {}
        self.broken: Counter[Key] = Counter()
        self.transfers: dict[tuple[Key, str], int] = {}
        self.metas: list[Mapping[str, Any]] = []
        self.models: list[str] = []
        self.neighbours: list[Neighbour] = []
        """What is near to everything."""

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """What the test has put there."""
        return self.neighbours[:limit]

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """All, and the neighbours."""
        return sum(map(len, self.recordings.values())), len(self.neighbours)

    def some(self, limit: int) -> list[RecordingRef]:
        """The first of each key."""
        return [RecordingRef(key, 0) for key in self.recordings][:limit]

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """What the test has put there."""
        return self.metas, self.models

    def short_id(self, place: RecordingRef) -> str:
        """Made of the key and the occurrence."""
        return f"{place.key[-4:]}{place.occurrence:04d}"

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """Which was recorded with this hand-over."""
        return self.transfers.get((key, transfer))

    def put(self, key: Key, *responses: Response) -> None:
        """More recordings for a key; what is not complete is counted as broken."""
        for response in responses:
            if response.ending is Ending.COMPLETE:
                self.recordings.setdefault(key, []).append(response)
            else:
                self.broken[key] += 1

    def count(self, key: Key) -> int:
        """How many can be played."""
        return len(self.recordings.get(key, ()))

    def count_broken(self, key: Key) -> int:
        """How many cannot."""
        return self.broken[key]

    def count_cut(self, method: str, path: str) -> int:
        """None."""
        return 0

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Takes no time here."""
        return function(*arguments)

    async def read(self, place: RecordingRef) -> Response:
        """The recording at this place."""
        if place.occurrence >= self.count(place.key):
            raise Damaged(f"there is no {place} here")
        return self.recordings[place.key][place.occurrence]


class InMemoryArchive:
    """Keeps pieces in a list. A whole tape goes to the shelf, if there is one.

    `full` is set by the test; then nothing is taken. `room` waits until the test calls `empty`.
    """

    def __init__(self, log: list[str] | None = None, shelf: InMemoryShelf | None = None) -> None:
        self._log = log if log is not None else []
        self._shelf = shelf
        self._emptied = asyncio.Event()
        self.full = False
        self.pieces: list[ExchangePart] = []
        self.dropped: list[tuple[int, str]] = []
        self.refused = 0
        self.settling: list[Key] = []

    def keep(self, piece: ExchangePart) -> bool:
        """Take it, unless full."""
        if self.full:
            self.refused += 1
            return False
        self.pieces.append(piece)
        if piece.end is not None:
            response = self.response(piece.number)
            self._log.append(f"kept {spoken(response) or response.ending.name}")
            if self._shelf is not None and piece.key is not None:
                self._shelf.put(piece.key, response)
        return True

    def drop(self, tape: int, reason: str) -> None:
        """Forget it."""
        self.dropped.append((tape, reason))
        self.pieces = [piece for piece in self.pieces if piece.number != tape]

    async def room(self) -> None:
        """Wait for `empty`."""
        while self.full:
            await self._emptied.wait()

    def empty(self) -> None:
        """There is room again."""
        self.full = False
        self._emptied.set()

    async def settled(self, key: Key) -> None:
        """Everything here is settled at once."""
        self.settling.append(key)

    # What a test looks at

    def tapes(self) -> list[list[ExchangePart]]:
        """The pieces of each tape."""
        tapes: dict[int, list[ExchangePart]] = {}
        for piece in self.pieces:
            tapes.setdefault(piece.number, []).append(piece)
        return list(tapes.values())

    def response(self, tape: int) -> Response:
        """What the pieces of an ended tape say together."""
        pieces = [piece for piece in self.pieces if piece.number == tape]
        end = pieces[-1].end
        assert end is not None, "this tape runs still"
        return Response.of(pieces[-1].head, [chunk for piece in pieces for chunk in piece.chunks], end)

    def responses(self) -> list[Response]:
        """What each ended tape says, in the order of their beginning."""
        return [self.response(pieces[0].number) for pieces in self.tapes() if pieces[-1].end is not None]
