"""A listener for those who want a whole answer: the first leg of a pair, a client in a demonstration."""

from __future__ import annotations

from replayproxy.model import Chunk, End, Head, Leg, Response


class ResponseCollector:
    """A `Listener` that keeps what it hears."""

    congested = False
    wants_whole = False

    def __init__(self) -> None:
        self._head: Head | None = None
        self._chunks: list[Chunk] = []
        self._end: End | None = None

    def begin(self, started: int) -> ResponseCollector:  # noqa: ARG002  a `Relay` wants to know when
        """A request is sent now, whose answer this hears."""
        return self

    async def ready(self) -> None:
        """Never congested."""

    async def head(self, head: Head) -> None:
        """Keep it."""
        self._head = head

    def chunk(self, chunk: Chunk) -> None:
        """Keep it, without the frame that only a client's socket has a use for."""
        self._chunks.append(Chunk(chunk.at, chunk.data, chunk.continued) if chunk.frame else chunk)

    def burst(self, response: Response) -> None:
        """Keep them."""
        self._chunks += response.chunks()

    def leg(self, leg: Leg) -> None:
        """What it has received is complete without the rest."""

    async def end(self, end: End) -> None:
        """Keep it."""
        self._end = end

    @property
    def status(self) -> int:
        """The status of the head; 0 before the head."""
        return self._head.status if self._head is not None else 0

    @property
    def response(self) -> Response:
        """Everything, once it is over."""
        assert self._end is not None
        return Response.of(self._head, self._chunks, self._end)

    def broken(self, end: End) -> Response:
        """Return what was received until the collector was stopped."""
        return Response.of(self._head, self._chunks, self._end or end)
