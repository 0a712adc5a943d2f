"""A listener that notes when the parts of one answer came, and passes everything on to a recorder.

Nothing is parsed while a stream runs: a driver of thousands of streams must not be late because it measures. What needs
the events, such as the first content, is found when the answer is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from replayproxy.core.coding import is_coded
from replayproxy.core.dialects.facts import events_at, facts_of, parsed
from replayproxy.core.dialects.table import text_in
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Leg, Request, Response
from replayproxy.ports import Listener

LAST_CHUNKS = 8
"""Chunks at the end of a stream in which its last content is searched first."""


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """What was measured of an answer: ns since the last byte of the request was written; None: it did not come."""

    status: int | None = None
    ending: Ending | None = None
    first_byte: int | None = None
    first_event: int | None = None
    first_content: int | None = None
    last_content: int | None = None
    end: int | None = None
    chunks: int = 0
    mean_gap: float | None = None
    max_gap: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None

    @property
    def tpot(self) -> float | None:
        """ns per output token after the first one, between the first and the last content."""
        first, last, tokens = self.first_content, self.last_content, self.output_tokens
        if first is None or last is None or tokens is None or tokens < 2:
            return None
        return (last - first) / (tokens - 1)


class AnswerMarks:
    """A `Listener` for one answer. `recorder` gets everything too, before anything is noted here."""

    wants_whole = False

    def __init__(self, recorder: Listener | None = None) -> None:
        self._recorder = recorder
        self._head: Head | None = None
        self._chunks: list[Chunk] = []
        self._end: End | None = None

    @property
    def congested(self) -> bool:
        """The recorder's disk."""
        return self._recorder is not None and self._recorder.congested

    async def ready(self) -> None:
        """Wait for the recorder."""
        if self._recorder is not None:
            await self._recorder.ready()

    async def head(self, head: Head) -> None:
        """Note the status."""
        if self._recorder is not None:
            await self._recorder.head(head)
        self._head = head

    def chunk(self, chunk: Chunk) -> None:
        """Keep a chunk until the answer is over."""
        if self._recorder is not None:
            self._recorder.chunk(chunk)
        self._chunks.append(chunk)

    def burst(self, response: Response) -> None:
        """Several chunks."""
        for chunk in response.chunks():
            self.chunk(chunk)

    def leg(self, leg: Leg) -> None:
        """Of a pair behind a URL nothing is to be seen."""

    async def end(self, end: End) -> None:
        """Note how it ended."""
        if self._recorder is not None:
            await self._recorder.end(end)
        self._end = end

    @property
    def status(self) -> int | None:
        """The status, once it came."""
        return self._head.status if self._head is not None else None

    @property
    def ending(self) -> Ending | None:
        """How the answer ended, once it has."""
        return self._end.ending if self._end is not None else None

    def response(self, now: int) -> Response | None:
        """The answer as far as it came; `now` is its end where it has none. None without a head."""
        if self._head is None:
            return None
        return Response.of(self._head, Chunks.of(self._chunks), self._end or End(now, Ending.CLIENT_LEFT))

    def times(self, request: Request, response: Response | None) -> AnswerTimes:
        """What was measured."""
        if response is None:
            return AnswerTimes()
        facts = facts_of(request, response)
        at = response.timeline.chunks
        gaps = [after - before for before, after in pairwise(at)]
        return AnswerTimes(
            status=response.status,
            ending=response.ending,
            first_byte=response.timeline.head,
            first_event=at[0] if at else None,
            first_content=facts.first_content,
            last_content=last_content(response) if facts.first_content is not None else None,
            end=response.timeline.end,
            chunks=len(at),
            mean_gap=sum(gaps) / len(gaps) if gaps else None,
            max_gap=max(gaps, default=None),
            prompt_tokens=facts.prompt_tokens,
            output_tokens=facts.completion_tokens,
            cached_tokens=facts.cached_tokens,
        )


def last_content(response: Response) -> int | None:
    """When the last event with content came; None where there is none."""
    if not is_event_stream(response.headers):
        return None
    chunks: Sequence[Chunk] = list(response.chunks())
    if len(chunks) > LAST_CHUNKS and not is_coded(response.headers):
        tail = Response.of(
            Head(response.timeline.head, response.status, response.headers),
            chunks[-LAST_CHUNKS:],
            End(response.timeline.end, response.ending),
        )
        if (found := _last_content(tail)) is not None:
            return found
    return _last_content(response)


def _last_content(response: Response) -> int | None:
    found = None
    for at, event in events_at(response):
        if text_in(parsed(event.data.encode())):
            found = at
    return found
