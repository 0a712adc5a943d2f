"""The protocols through which the packages use one another, and the values that cross them.

A source plays an answer to a listener; the client and the recorder are listeners. A source pushes, and is no async
iterator, for three reasons. The time of a chunk is then the time of the socket read, whatever the client does with it.
One turn of the event loop per chunk instead of two is half of a proxy's cost. And a recorder whose `chunk` does not
wait loses nothing when the handler is cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from replayproxy.model import Chunk, Chunks, End, Exchange, Head, Key, Leg, RecordingRef, Request, Response

T = TypeVar("T")


class Listener(Protocol):
    """Receives one answer: `head`, any number of `chunk` and `burst`, `end`."""

    @property
    def wants_whole(self) -> bool:
        """Whether a short answer is read to its end for this listener even if the client has left."""
        ...

    @property
    def congested(self) -> bool:
        """Whether too much is waiting here; a live source then pauses its socket and awaits `ready`."""
        ...

    async def head(self, head: Head) -> None:
        """Take status and field lines. Waits for the client's socket at most."""
        ...

    def chunk(self, chunk: Chunk) -> None:
        """Take one chunk. Never waits."""
        ...

    def burst(self, response: Response) -> None:
        """Take all chunks of a recorded answer, or those of them that are due. Never waits."""
        ...

    async def end(self, end: End) -> None:
        """Take the end. Unless it is COMPLETE, the client must see that the answer is not whole."""
        ...

    def leg(self, leg: Leg) -> None:
        """Take one leg of a prefill/decode pair that has ended. Only a recorder uses it. Never waits.

        Called before `end`, except for a prefill that ends after its decode.
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
"""The body of a request that is still arriving. Taking the first part asks the client to send it (100 Continue)."""


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
    """A recording that a request may resemble: its cassette and id, its request, and facts of its answer."""

    cassette: str
    id: str
    request: Request
    status: int
    completion_tokens: int | None = None
    finish: str | None = None


class Worker(Protocol):
    """Does work outside the event loop that would delay streams."""

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call a function of a module. Arguments and result can be pickled. Raises what the function raises."""
        ...


class RecordingStore(Protocol):
    """Finds and reads recordings."""

    def count(self, key: Key) -> int:
        """Return how many recordings there are with this key."""
        ...

    def count_broken(self, key: Key) -> int:
        """Return how many answers with this key broke off and cannot be played."""
        ...

    def count_cut(self, method: str, path: str) -> int:
        """Return how many exchanges of this endpoint answer nothing: their request was cut."""
        ...

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """Return the occurrence that was recorded with this hand-over from prefill to decode, or None."""
        ...

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """Return the recordings of this endpoint with the most similar sketch, best first. May take milliseconds."""
        ...

    def some(self, limit: int) -> list[RecordingRef]:
        """Return at most so many recordings, those of CORS preflights first. May take milliseconds."""
        ...

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """Return the meta entries of each cassette, and the names of all models. May take milliseconds."""
        ...

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """Return how many different requests have a recording, and how many of these are at this endpoint."""
        ...

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function that reads for milliseconds, such as `near`, so that no stream waits for it."""
        ...

    def short_id(self, place: RecordingRef) -> str:
        """Return the id of a recording as `ls` shows it. Raises `Damaged` if there is no such recording."""
        ...

    async def read(self, place: RecordingRef) -> Response:
        """Return the answer of a recording. Raises `Damaged` if it is not what was written."""
        ...


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> int:
        """Return nanoseconds of a monotonic clock."""
        ...

    def today(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Wait until `now() >= at`. Returns at once if that time has passed."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangePart:
    """What was received of an exchange since the previous part. The last part has an `end`.

    `number` identifies the exchange within the process. Header fields are those that a cassette may hold. `key` is None
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
    """About how many bytes of memory this part takes while it waits."""

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
    """Takes exchanges to be recorded. No method waits, except `room` with `--on-full block`, and `settled`."""

    @property
    def full(self) -> bool:
        """Whether no further part is taken now."""
        ...

    def keep(self, part: ExchangePart) -> bool:
        """Take a part. Returns False if there is no room; then call `drop` for the whole exchange."""
        ...

    def drop(self, number: int, reason: str) -> None:
        """Discard an exchange. The cassette counts it as dropped, with the reason."""
        ...

    async def room(self) -> None:
        """Wait until no longer full."""
        ...

    async def settled(self, key: Key) -> None:
        """Wait until everything that was taken with this key can be found by a reader."""
        ...
