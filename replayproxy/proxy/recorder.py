"""Make the recorders of single exchanges, and hold what they share: the flush task, work in threads, request order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from itertools import count

from replayproxy.core import headers
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.model import Key, Request
from replayproxy.ports import Clock, RecordingSink, Worker
from replayproxy.proxy import aside
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.exchange_recorder import ExchangeRecorder
from replayproxy.proxy.starvation import Starvation

FLUSH_NANOSECONDS = 1_000_000_000
"""How often a stream in flight is flushed: a crash costs about this much of it."""

FLUSHES_PER_SECOND = 100
"""Streams that are flushed each second at most. A flush costs about 0.4 ms of CPU, in this thread and in the writer's:
with 300 streams in flight, one per second each took an eighth of what recording costs."""

LONGEST_NANOSECONDS = 5_000_000_000
"""No stream in flight waits longer for a flush, however many there are."""

TIE = 1_000_000
"""Nanoseconds. Clocks that tell time in steps give several requests the same one; one that is set back by more is
believed."""

TURNS = 20
"""Flush turns per second, so that streams are flushed as they began: 300 at once would hold up traffic for 11 ms."""

MOST_PENDING = 256 * 1024 * 1024
"""Bytes of long exchanges that have ended and are not masked yet; beyond it they are not recorded."""

AT_ONCE = 16
"""Streams that are flushed in one turn of the loop."""


class Recorder:
    """Makes an `ExchangeRecorder` for each request. `run` it as a task, so that streams are flushed every second."""

    def __init__(
        self,
        sink: RecordingSink,
        clock: Clock,
        counters: Counters,
        redactor: Redactor,
        *,
        block: bool = False,
        compared: Collection[str] = (),
        max_body: int = 128 * 1024 * 1024,
        fields: StoredFields = headers.STORED,
        matcher: Matcher | None = None,
        worker: Worker | None = None,
    ) -> None:
        """`compared` names the headers, in lower case, that the match rules need.

        Of an upload `max_body` bytes are kept: a longer one is passed on whole, and recorded as one that was cut.
        `matcher` derives the keys of long requests, with the help of `worker`; the archive derives those of short ones.
        """
        self.sink = sink
        self.max_body = max_body
        self.compared = frozenset(compared)
        self.fields = fields
        self.redactor = redactor
        self._matcher = matcher or Matcher(MatchRules(), redactor)
        self.worker: Worker = worker or InThread()
        self._pending: dict[asyncio.Task[None], Key | None] = {}
        """What masks long exchanges that have ended."""
        self.pending_bytes = 0
        self.clock = clock
        self.counters = counters
        self.blocks = block
        self._numbers = count(1)
        self._last_recorded_at = 0
        self._running: dict[ExchangeRecorder, int] = {}
        """When each is flushed next, in ns; the earliest first, or nearly: fewer streams are flushed more often."""
        self.stopping = False
        self.starvation = Starvation(clock)

    def record(self, request: Request, *, scope: str = "", key: Key | None = None) -> ExchangeRecorder:
        """Return the recorder of one exchange. Use it as a context manager."""
        return ExchangeRecorder(self, next(self._numbers), request, scope, key)

    async def admit(self) -> bool:
        """With `--on-full block`: wait for room before a request is passed on. Gives whether that took time.

        Waiting at the end of an answer alone would not hold back a client that opens a connection for each request.
        """
        if not self.blocks or not self.sink.full:
            return False
        await self.sink.room()
        return True

    async def settled(self, key: Key) -> None:
        """Wait until everything recorded with this key has been committed."""
        if waiting := [task for task, pending in self._pending.items() if pending == key]:
            await asyncio.wait(waiting)
        await self.sink.settled(key)

    async def finish(self) -> None:
        """Wait until the archive has everything that was recorded."""
        while self._pending:
            await asyncio.wait(self._pending)

    def is_prepared(self, request: Request) -> bool:
        """Whether its key and its masks are known, or take no time."""
        return aside.is_prepared(self._matcher, request)

    async def prepare(self, request: Request) -> None:
        """Find them out, aside."""
        await aside.prepared(self._matcher, self.worker, request)

    def keep_later(self, work: Coroutine[None, None, None], key: Key | None, size: int) -> bool:
        """Run this as a task. Return False, without running it, if too many bytes are pending already."""
        if self.pending_bytes + size > MOST_PENDING and self._pending and not self.blocks:
            work.close()
            return False
        task = asyncio.create_task(work)
        self._pending[task] = key
        self.pending_bytes += size

        def done(task: asyncio.Task[None]) -> None:
            del self._pending[task]
            self.pending_bytes -= size

        task.add_done_callback(done)
        return True

    def has_ended(self, exchange: ExchangeRecorder) -> None:
        """Do not flush it any more: it hands over the rest itself."""
        self._running.pop(exchange, None)

    def next_recorded_at(self) -> int:
        """Now, in ns since the Unix epoch, and never the same twice: equal requests are played in this order."""
        now = self.clock.today()
        if self._last_recorded_at - TIE < now <= self._last_recorded_at:
            now = self._last_recorded_at + 1
        self._last_recorded_at = now
        return now

    async def run(self) -> None:
        """Flush streams in flight until cancelled; meanwhile measure how late this process is scheduled."""
        self.starvation.start()
        try:
            await self._flush_in_turns()
        finally:
            self.starvation.stop()

    async def _flush_in_turns(self) -> None:
        while True:
            now = self.clock.now()
            await self.clock.sleep_until(next(iter(self._running.values()), now + FLUSH_NANOSECONDS))
            done = 0
            while self._running and (due := next(iter(self._running.items())))[1] <= self.clock.now():
                exchange = due[0]
                del self._running[exchange]
                self.schedule_flush(exchange)
                exchange.flush()
                done += 1
                if done % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def schedule_flush(self, exchange: ExchangeRecorder) -> None:
        """Within a second, or later the more streams are in flight, together with those whose turn is the same."""
        turn = FLUSH_NANOSECONDS // TURNS
        crowded = FLUSH_NANOSECONDS * len(self._running) // FLUSHES_PER_SECOND
        wait = min(max(FLUSH_NANOSECONDS, crowded), LONGEST_NANOSECONDS)
        self._running[exchange] = (self.clock.now() + wait) // turn * turn
