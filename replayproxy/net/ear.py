"""A listener for those who want a whole answer: the first leg of a pair, a client in a demonstration."""

from __future__ import annotations

from replayproxy.model import Chunk, End, Head, Leg, Response


class Ear:
    """A `Listener` that keeps what it hears."""

    congested = False

    def __init__(self) -> None:
        self._head: Head | None = None
        self._chunks: list[Chunk] = []
        self._end: End | None = None

    async def ready(self) -> None:
        """Never congested."""

    async def head(self, head: Head) -> None:
        """Keep it."""
        self._head = head

    def chunk(self, chunk: Chunk) -> None:
        """Keep it."""
        self._chunks.append(chunk)

    def burst(self, response: Response) -> None:
        """Keep them."""
        self._chunks += response.chunks()

    def leg(self, leg: Leg) -> None:
        """What it heard is whole without."""

    async def end(self, end: End) -> None:
        """Keep it."""
        self._end = end

    @property
    def begun(self) -> bool:
        """Whether the head is there."""
        return self._head is not None

    @property
    def heard(self) -> Response:
        """Everything, once it is over."""
        assert self._end is not None
        return Response.of(self._head, self._chunks, self._end)

    def broken(self, end: End) -> Response:
        """What came before somebody stopped listening."""
        return Response.of(self._head, self._chunks, self._end or end)
