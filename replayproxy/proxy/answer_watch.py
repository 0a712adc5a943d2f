"""Watch one answer beside its client, for the access log: status, times, first words, tokens.

Made only if there is an access log: a stream that is not watched pays nothing for it.
"""

from __future__ import annotations

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.opening import MOST_BYTES, Opening
from replayproxy.core.dialects.sse import events_of
from replayproxy.core.dialects.table import usage_in
from replayproxy.core.headers import get, is_event_stream
from replayproxy.model import Chunk, End, Ending, Head, Leg, Response
from replayproxy.ports import Clock

_TAIL_BYTES = 4 * 1024
"""Of the end of a stream, where its usage is."""


class AnswerWatch:
    """A `Listener` that keeps what a line of the access log needs."""

    wants_whole = False
    congested = False

    def __init__(self, clock: Clock, started: int) -> None:
        """`started`: when the request was complete, in ns of `clock`."""
        self._clock = clock
        self._started = started
        self.status = 0
        self.ending = Ending.CLIENT_LEFT
        """Until the end has come."""
        self.ttft: int | None = None
        """Nanoseconds until the first content of a stream."""
        self._is_stream = False
        self._opening: Opening | None = None
        self._body = bytearray()
        self._is_cut = False

    @property
    def total(self) -> int:
        """Nanoseconds since the request was complete."""
        return self._clock.now() - self._started

    @property
    def words(self) -> str:
        """The first words of the answer."""
        return "" if self._opening is None else self._opening.words

    @property
    def tokens(self) -> int | None:
        """Tokens of the answer as its usage says; None if it does not, or is long and not streamed."""
        if self._opening is None or (self._is_cut and not self._is_stream):
            return None
        if not self._is_stream:
            return usage_in(parsed(bytes(self._body))).completion
        counts = [usage_in(parsed(event.data.encode())).completion for event in events_of([bytes(self._body)])]
        return next((count for count in reversed(counts) if count is not None), None)

    async def head(self, head: Head) -> None:
        """Keep the status."""
        self.status = head.status
        self._is_stream = is_event_stream(head.headers)
        if get(head.headers, "content-encoding") is None:
            self._opening = Opening(streamed=self._is_stream)

    def chunk(self, chunk: Chunk) -> None:
        """Read its words."""
        self._look(chunk.data)

    def burst(self, response: Response) -> None:
        """Read the words of all of them."""
        self._look(response.body)

    def leg(self, leg: Leg) -> None:
        """A line tells of the whole exchange, not of its legs."""

    async def end(self, end: End) -> None:
        """Keep how it ended."""
        self.ending = end.ending

    async def ready(self) -> None:
        """Nothing waits here."""

    def _look(self, data: bytes) -> None:
        opening = self._opening
        if opening is None:
            return
        opening.feed(data)
        if self.ttft is None and self._is_stream and opening.has_content:
            self.ttft = self.total
        kept = _TAIL_BYTES if self._is_stream else MOST_BYTES
        self._body += data[-kept:]
        self._is_cut = self._is_cut or len(data) > kept
        # Twice as much may stand there before it is cut, so that each byte is moved once.
        if len(self._body) > 2 * kept:
            del self._body[:-kept]
            self._is_cut = True
