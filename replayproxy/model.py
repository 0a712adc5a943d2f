"""Requests, answers and their times, as values.

Everything here is frozen and compares by content. Times are integer nanoseconds since the request was complete
(`at`); wall time appears once, in `Exchange.recorded_at`. This file knows no socket, no disk and no clock.

    Request ──▶ Head, Chunk, Chunk, …, End        what a source plays, in this order
    Chunks   = several chunks in columns           one body, with the size and the time of each chunk
    Response = the whole answer as one value       in columns too
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]
"""Field lines in their order, case and number, decoded as latin-1 (every byte survives)."""


class Ending(IntEnum):
    """How an answer ended. The numbers are stored on cassettes: never renumber."""

    COMPLETE = 0
    UPSTREAM_CUT = 1
    CLIENT_LEFT = 2
    TIMEOUT = 3
    PROXY_STOPPED = 4
    PROXY_CRASHED = 5


def is_playable(status: int, ending: Ending) -> bool:
    """Return whether an answer is played without `--allow-incomplete`.

    A whole answer is. So is one whose client left on purpose after the head (a stop button, an `abort()`): it is played
    as far as it was recorded. `status` is 0 if there was no head.
    """
    return ending is Ending.COMPLETE or (ending is Ending.CLIENT_LEFT and status > 0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What match rules and a cassette's columns need of a request, so that a long body is parsed once."""

    key: Key
    sketch: bytes
    model: str | None
    stream: bool
    transfer: str | None
    """The id of the prefill's transfer that the request refers to, if it does."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the client asked. `target` is the raw path and query, `body` the bytes after transfer decoding.

    `undone` belongs to `core/coding`: a body, and what it reads with its content codings undone, so that this is done
    once for a request. `masked` belongs to `core/redaction`: who masked the secrets, and the request without them.
    `prepared` belongs to `core/preparing`: by whose match rules, and what they need to know of the request.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    undone: tuple[bytes, bytes | None] | None = field(default=None, compare=False, repr=False)
    masked: tuple[object, Request] | None = field(default=None, compare=False, repr=False, init=False)
    prepared: tuple[object, Prepared] | None = field(default=None, compare=False, repr=False, init=False)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The raw query, without the question mark."""
        return self.target.partition("?")[2]


class Head(NamedTuple):
    """Status and end-to-end field lines of an answer."""

    at: int
    status: int
    headers: Headers


class Chunk(NamedTuple):
    """Body bytes as they came from the socket, never re-framed. (A named tuple: 0.2 us to make, a dataclass 0.6.)

    `continued` where the read ended before the HTTP chunk did: the next read carries the rest of it. `frame` is the
    chunk in chunked coding as we would write it, where it is there already; it says nothing that `data` does not.
    """

    at: int
    data: bytes
    continued: bool = False
    frame: bytes = b""


class End(NamedTuple):
    """When and how an answer ended. A source plays it last."""

    at: int
    ending: Ending


@dataclass(frozen=True, slots=True)
class Chunks:
    """Consecutive chunks in columns, so that keeping, searching or packing thousands of them makes no object per chunk.

    `cuts` are their sizes in bytes, with `sum(cuts) == len(body)`; `times` has one `Chunk.at` per cut. `continued` are
    the ascending indexes of the chunks whose read ended before the HTTP chunk did.
    """

    body: bytes = b""
    cuts: Sequence[int] = ()
    times: Sequence[int] = ()
    continued: Sequence[int] = ()

    @classmethod
    def of(cls, chunks: Iterable[Chunk]) -> Chunks:
        """Put single chunks into columns. Chunks that are in columns already are returned as they are."""
        if isinstance(chunks, Chunks):
            return chunks
        columns = tuple(zip(*chunks, strict=True))
        times, pieces, continued, _ = columns or ((), (), (), ())
        return cls(b"".join(pieces), tuple(map(len, pieces)), times, _indexes(continued))

    @classmethod
    def joined(cls, parts: Sequence[Chunks]) -> Chunks:
        """Return the chunks of all parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        cuts: list[int] = []
        times: list[int] = []
        continued: list[int] = []
        for part in parts:
            continued += [len(cuts) + index for index in part.continued]
            cuts += part.cuts
            times += part.times
        return cls(b"".join([part.body for part in parts]), cuts, times, continued)

    def data(self) -> list[bytes]:
        """Yield the bytes of each chunk."""
        body = self.body
        return [body[start:stop] for start, stop in pairwise(accumulate(self.cuts, initial=0))]

    def __iter__(self) -> Iterator[Chunk]:
        start = 0
        continued = frozenset(self.continued)
        for index, (at, size) in enumerate(zip(self.times, self.cuts, strict=True)):
            yield Chunk(at, self.body[start : start + size], index in continued)
            start += size

    def __len__(self) -> int:
        return len(self.cuts)


def _indexes(flags: Iterable[bool]) -> tuple[int, ...]:
    """Return the positions of the flags that are set."""
    return tuple(index for index, flag in enumerate(flags) if flag)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of an answer, in ns since the request was complete. Pacing and statistics need no bytes."""

    head: int
    chunks: tuple[int, ...]
    end: int

    @property
    def first(self) -> int:
        """The time of the first chunk, or of the end if there was none."""
        return self.chunks[0] if self.chunks else self.end

    def gaps(self) -> Iterator[int]:
        """Yield the time between each chunk and the previous one."""
        return (after - before for before, after in zip(self.chunks, self.chunks[1:], strict=False))


@dataclass(frozen=True)
class Response:
    """A whole answer. `cuts` are the chunk sizes in bytes, with `sum(cuts) == len(body)` and one time per cut.

    `status` is 0 if the answer ended before its head. `continued` is the same as in `Chunks`.
    """

    status: int
    headers: Headers
    body: bytes
    cuts: tuple[int, ...]
    timeline: Timeline
    ending: Ending = Ending.COMPLETE
    continued: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if sum(self.cuts) != len(self.body) or len(self.cuts) != len(self.timeline.chunks):
            raise ValueError(
                f"cuts ({len(self.cuts)}, {sum(self.cuts)} bytes) do not cover the body ({len(self.body)} bytes) "
                f"with one time each ({len(self.timeline.chunks)})"
            )

    def chunks(self) -> Chunks:
        """Return the body in its chunks, as received."""
        return Chunks(self.body, self.cuts, self.timeline.chunks, self.continued)

    @cached_property
    def framed(self) -> bytes:
        """All chunks in HTTP/1.1 chunked coding (RFC 9112 §7.1), joined, without the last-chunk.

        Cached, because a recording is played again and again: one write of all of it replays 12 times more streams per
        second than one write per chunk.
        """
        sent = Chunks(self.body, self.http_chunks)
        return b"".join([b"%x\r\n%b\r\n" % (len(data), data) for data in sent.data() if data])

    @cached_property
    def http_chunks(self) -> tuple[int, ...]:
        """The sizes of the chunks that the server sent: a read that ended within a chunk is joined with the next."""
        if not self.continued:
            return self.cuts
        sizes, size, unended = [], 0, frozenset(self.continued)
        for index, cut in enumerate(self.cuts):
            size += cut
            if index not in unended:
                sizes.append(size)
                size = 0
        return (*sizes, size) if size else tuple(sizes)

    @classmethod
    def of(cls, head: Head | None, chunks: Iterable[Chunk], end: End) -> Response:
        """Return the answer that a listener received."""
        status, headers, at = (head.status, head.headers, head.at) if head else (0, (), end.at)
        received = Chunks.of(chunks)
        timeline = Timeline(at, tuple(received.times), end.at)
        return cls(
            status, headers, received.body, tuple(received.cuts), timeline, end.ending, tuple(received.continued)
        )


@dataclass(frozen=True, slots=True)
class Leg:
    """The proxy's request to one server of a prefill/decode pair, and its answer. `role` is `prefill` or `decode`.

    `started` is when the proxy sent it, in ns since the client's request was complete. The times of `response` count
    from there.
    """

    role: str
    upstream: str
    request: Request
    response: Response
    started: int = 0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer: what a cassette holds.

    `recorded_at` is wall time in ns since the Unix epoch, when the request was complete. `stalled` counts the pauses
    that a slow client forced on the upstream: only then are recorded times not the server's own. `starved` is the
    largest delay, in ns, with which the recorder was scheduled while the answer ran: gaps below it mean nothing.
    `request_cut`: the client's body was not read to its end. `client_left`: the client had closed its connection
    before the answer ended, although the answer may be whole.
    """

    request: Request
    response: Response
    recorded_at: int
    legs: tuple[Leg, ...] = ()
    scope: str = ""
    stalled: int = 0
    starved: int = 0
    request_cut: bool = False
    client_left: bool = False


Key = str
"""Tagged digest `rp1:…` of the canonical request."""

KEY_TAG = "rp1"
"""Version of the canonical form. Any change to `form` needs a new tag: else requests would miss old recordings."""


class RecordingRef(NamedTuple):
    """Identifies a recording: the n-th answer (from 0) to requests with this key."""

    key: Key
    occurrence: int
