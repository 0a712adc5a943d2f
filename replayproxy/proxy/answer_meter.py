"""Measure one answer on its way to the client: status, size, model, time to first token, gaps, total.

A stream pays for an append and two additions per chunk; everything else is done for 256 chunks at once, at the first
events, or when the answer has ended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

from replayproxy.core.dialects.facts import parsed
from replayproxy.core.dialects.sse import Decoder
from replayproxy.core.dialects.table import text_in
from replayproxy.core.headers import get, is_event_stream
from replayproxy.errors import UpstreamError
from replayproxy.model import Chunk, End, Ending, Head, Leg, Response
from replayproxy.ports import Clock, Upload
from replayproxy.views.access import Outcome

GAP_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Seconds: `vllm:inter_token_latency_seconds`. A chunk is not a token, but with vLLM nearly always carries one."""

_GAP_NANOSECONDS = [round(bound * 1e9) for bound in GAP_BOUNDS]

AT_ONCE = 256
"""Chunks whose gaps are counted together."""

MOST_BYTES = 64 * 1024
"""Of an answer that is looked into, for its model and its first content."""

MOST_EVENTS = 16
"""Of a stream that is looked into: content comes early, and parsing an event costs more than forwarding it."""

Labels = tuple[str, str, str, str]
"""Outcome, endpoint, model and status, as metrics have them."""


class AnswerMeter:
    """A `Listener` beside the client."""

    wants_whole = False
    congested = False

    def __init__(
        self, clock: Clock, started: int, *, is_live: bool, ended: Callable[[AnswerMeter], None] = lambda _: None
    ) -> None:
        """`started`: when the request was complete, in ns of `clock`.

        `is_live`: chunks have the time at which a server sent them; else the time at which they go out is taken.
        `ended` is called once, before the client can see that its answer is over (`Tee`): a client that has its answer
        finds it in the metrics. Where no end comes, call `finish`.
        """
        self._clock = clock
        self._started = started
        self._is_live = is_live
        self._ended: Callable[[AnswerMeter], None] | None = ended
        self.path = ""
        self.outcome = Outcome.ANSWERED
        self.error: UpstreamError | None = None
        """Why there is no answer."""
        self.labels: Labels | None = None
        """Under which it was counted."""
        self.status = 0
        self.ending = Ending.CLIENT_LEFT
        """Until the end has come."""
        self.model = ""
        """As the answer names it."""
        self.request_bytes = 0
        self.response_bytes = 0
        self.ttft_ns: int | None = None
        self.total_ns = 0
        self._times: list[int] = []
        self._gaps = [0] * (len(GAP_BOUNDS) + 1)
        self._gap_sum = 0
        self.longest_gap_ns: int | None = None
        """Between two chunks of a stream."""
        self._looks = False
        """Whether there is something left to find in the answer."""
        self._decoder: Decoder | None = None
        self._body = bytearray()
        self._looked = 0
        self._events = 0

    async def counted(self, upload: Upload) -> AsyncIterator[bytes]:
        """Pass an upload on, and count its bytes."""
        async for part in upload:
            self.request_bytes += len(part)
            yield part

    async def head(self, head: Head) -> None:
        """Keep the status."""
        self.status = head.status
        self._looks = get(head.headers, "content-encoding") is None
        if is_event_stream(head.headers):
            self._decoder = Decoder()

    def chunk(self, chunk: Chunk) -> None:
        """Note it."""
        at = chunk[0] if self._is_live else self._clock.now() - self._started
        times = self._times
        times.append(at)
        self.response_bytes += len(chunk[1])
        if self._looks:
            self._look(chunk[1], at)
        if len(times) >= AT_ONCE:
            self._count_gaps()

    def burst(self, response: Response) -> None:
        """Note them as one."""
        at = self._clock.now() - self._started
        self._times.append(at)
        self.response_bytes += len(response.body)
        if self._looks:
            self._look(response.body, at)

    def leg(self, leg: Leg) -> None:
        """What is measured is what the client gets."""

    async def ready(self) -> None:
        """At once."""

    async def end(self, end: End) -> None:
        """Keep how it ended, and count it."""
        self.ending = end.ending
        self.total_ns = end.at if self._is_live else self._clock.now() - self._started
        self.finish()

    def gaps(self) -> tuple[list[int], int]:
        """The gaps between chunks of a stream by bucket of `GAP_BOUNDS`, and their sum in ns. For a whole answer."""
        if self._decoder is None:  # the pieces of a JSON body say nothing about tokens
            return [0] * len(self._gaps), 0
        self._count_gaps()
        return self._gaps, self._gap_sum

    def _count_gaps(self) -> None:
        gaps, bounds = self._gaps, _GAP_NANOSECONDS
        longest = self.longest_gap_ns
        for before, after in pairwise(self._times):
            gap = after - before
            gaps[bisect_left(bounds, gap)] += 1
            if longest is None or gap > longest:
                longest = gap
        self.longest_gap_ns = longest
        self._gap_sum += self._times[-1] - self._times[0] if self._times else 0
        del self._times[:-1]

    def finish(self) -> None:
        """Nothing more comes. A second call does nothing."""
        if (ended := self._ended) is None:
            return
        self._ended = None
        if self._decoder is None and self._body and not self.model:
            self.model = _model_in(parsed(bytes(self._body)))
            self._body.clear()
        ended(self)

    def _look(self, data: bytes, at: int) -> None:
        """Look for the model and the first content, in the first `MOST_BYTES` and `MOST_EVENTS`."""
        if self._decoder is None:
            self._body += data
            self._looks = len(self._body) <= MOST_BYTES
            if not self._looks:
                self._body.clear()
            return
        self._looked += len(data)
        for event in self._decoder.feed(data[:MOST_BYTES]):
            if self._events == MOST_EVENTS:
                break
            self._events += 1
            value = parsed(event.data.encode())
            self.model = self.model or _model_in(value)
            if text_in(value):
                self.ttft_ns = at
                self._looks = False
                return
        self._looks = self._looked < MOST_BYTES and self._events < MOST_EVENTS


def _model_in(value: dict[str, Any]) -> str:
    """The model that an event or a body names: at its top, or within `response` or `message`."""
    for place in (value, value.get("response"), value.get("message")):
        if isinstance(place, dict) and isinstance(place.get("model"), str):
            return str(place["model"])
    return ""
