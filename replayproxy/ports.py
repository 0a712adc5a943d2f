"""What the story needs from the world.

A source plays an answer to a listener; the client is a listener, the tape is a listener. Push and not an async
iterator, because the time of a chunk is the time of the socket read whatever the client does with it, one loop turn a
chunk instead of two is half of a proxy's cost, and a synchronous `chunk` cannot lose the tape when a handler is
cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from replayproxy.model import Chunk, Chunks, End, Exchange, Head, Key, Leg, RecordingRef, Request, Response

T = TypeVar("T")


class Listener(Protocol):
    """Hears one answer: `head`, any number of `chunk` and `burst`, `end`."""

    @property
    def wants_whole(self) -> bool:
        """A short answer is to be read to its end for this listener, although the client has left."""
        ...

    @property
    def congested(self) -> bool:
        """More is waiting here than should be; a live source then pauses its socket and awaits `ready`."""
        ...

    async def head(self, head: Head) -> None:
        """The answer begins. May wait for nothing but the client's socket."""
        ...

    def chunk(self, chunk: Chunk) -> None:
        """One chunk. Never waits."""
        ...

    def burst(self, response: Response) -> None:
        """All chunks of a recorded answer, or those of them that are due by now. Never waits."""
        ...

    async def end(self, end: End) -> None:
        """The answer is over. After anything but COMPLETE the client must see an unclean end."""
        ...

    def leg(self, leg: Leg) -> None:
        """One leg of a prefill/decode pair is over. For those who record it. Never waits.

        Comes before `end`, save for a prefill that outlasts its decode.
        """
        ...

    async def ready(self) -> None:
        """Wait until no longer congested."""
        ...


class ClientListener(Listener, Protocol):
    """The listener that is a client's connection: what can happen to a connection besides an answer."""

    @property
    def whole(self) -> bool:
        """Whether an answer was sent to its end."""
        ...

    @property
    def succeeded(self) -> bool:
        """Whether an answer was sent to its end that reports no error (status below 400)."""
        ...

    async def reset(self) -> None:
        """Send what was given so far, then end the connection by a TCP reset (RST)."""
        ...


Upload = AsyncIterator[bytes]
"""The body of a request that is still arriving, piece by piece. Pulling the first piece asks the client for it."""


class Source(Protocol):
    """Plays answers: a live server, a prefill/decode pair, a cassette, a simulator."""

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Play the whole answer to `request`.

        Times count from `received_at`, when the client's request was complete; from now if it is None. With `upload`,
        `request.body` is empty, the body comes from there, and times count from its end. Raises `UpstreamError` if
        there was no head to play; after the head, a failure is an `End` that is not COMPLETE.
        """
        ...


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A recording that a request may resemble: by which name people find it, what was asked, what was answered."""

    cassette: str
    id: str
    request: Request
    status: int
    completion_tokens: int | None = None
    finish: str | None = None


class Worker(Protocol):
    """Does heavy work outside the event loop."""

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call a function of a module with values as arguments, all of which can be pickled. Raises what it raises."""
        ...


class RecordingStore(Protocol):
    """Where recordings stand."""

    def count(self, key: Key) -> int:
        """How many playable answers there are to requests with this key."""
        ...

    def count_broken(self, key: Key) -> int:
        """How many answers with this key had broken and are not playable."""
        ...

    def count_cut(self, method: str, path: str) -> int:
        """How many recordings of this endpoint have a request that was not read to its end: they answer nothing."""
        ...

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """The occurrence that was recorded with this hand-over from prefill to decode, if there is one."""
        ...

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """Recordings of this endpoint whose sketch (`core.sketch`) is most alike, best first. May take milliseconds."""
        ...

    def some(self, limit: int) -> list[RecordingRef]:
        """At most so many recordings that can be played, those of preflights first. May take milliseconds."""
        ...

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """The meta entries of each cassette, and the names of the models that occur. May take milliseconds."""
        ...

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """How many different requests have an answer that can be played, and how many of these at this endpoint."""
        ...

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Call what reads for milliseconds, such as `near`, so that no stream waits for it."""
        ...

    def short_id(self, place: RecordingRef) -> str:
        """The id of a recording, as people give it to `show`. Raises `Damaged` when it is not there."""
        ...

    async def read(self, place: RecordingRef) -> Response:
        """The answer at this place. Raises `Damaged` when it is not what was written."""
        ...


class Clock(Protocol):
    """The only way to know the time."""

    def now(self) -> int:
        """Nanoseconds on a clock that never jumps."""
        ...

    def today(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Wait until `now() >= at`; at once if that has passed."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangePart:
    """What was received of an exchange since the part before it. The part with an `end` is the last.

    `number` is the exchange's own within the process. Header fields are those that a cassette may hold. `key` is None
    if the sink is to derive it.
    """

    number: int
    request: Request
    recorded_at: int
    head: Head | None
    chunks: Chunks
    end: End | None = None
    key: Key | None = None
    scope: str = ""
    stalled: int = 0
    legs: tuple[Leg, ...] = ()
    starved: int = 0
    request_cut: bool = False
    client_left: bool = False
    left_out: tuple[str, ...] = ()
    """Names, in lower case, of the answer's fields that a cassette may not hold; with the last part."""
    size: int = field(init=False, compare=False)
    """About how many bytes of memory wait with this part."""

    def __post_init__(self) -> None:
        waiting = 1000 + len(self.request.body) + 100 * len(self.chunks) + len(self.chunks.body)
        object.__setattr__(self, "size", waiting)

    @classmethod
    def of(cls, number: int, exchange: Exchange) -> Self:
        """Return a whole exchange as one part; the sink derives its key."""
        response = exchange.response
        timeline = response.timeline
        return cls(
            number=number,
            request=exchange.request,
            recorded_at=exchange.recorded_at,
            head=Head(timeline.head, response.status, response.headers) if response.status else None,
            chunks=response.chunks(),
            end=End(timeline.end, response.ending),
            scope=exchange.scope,
            stalled=exchange.stalled,
            legs=exchange.legs,
            starved=exchange.starved,
            request_cut=exchange.request_cut,
            client_left=exchange.client_left,
        )


class RecordingSink(Protocol):
    """Where exchanges are recorded. Nothing here waits, except `room` with `--on-full block`."""

    @property
    def full(self) -> bool:
        """Whether there is no room for more now."""
        ...

    def keep(self, part: ExchangePart) -> bool:
        """Take a part. Return False if there is no room; then forget the whole exchange with `drop`."""
        ...

    def drop(self, number: int, reason: str) -> None:
        """Forget an exchange; the cassette says that it was dropped, and why."""
        ...

    async def room(self) -> None:
        """Wait until no longer full."""
        ...

    async def settled(self, key: Key) -> None:
        """Wait until everything kept with this key can be found."""
        ...
