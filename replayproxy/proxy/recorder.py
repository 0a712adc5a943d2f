"""Makes the recorders of single exchanges, and what they share: turns, work aside, the order of requests."""

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

PIECE_NANOSECONDS = 1_000_000_000
TIE = 1_000_000
"""Nanoseconds. Clocks that tell time in steps give several requests the same one; one that is set back by more is
believed."""

TURNS = 20
"""In a second. Streams let go in turns, as they began: 300 at once would hold the traffic up for 11 ms."""

MOST_PENDING = 256 * 1024 * 1024
"""Bytes of long exchanges that have ended and are not masked yet; beyond it they are not recorded."""

AT_ONCE = 16
"""Streams that may let go before others have a turn of the loop."""


class Recorder:
    """Makes tapes. `run` it as a task, so that streams in flight reach the disk every second."""

    def __init__(
        self,
        archive: RecordingSink,
        clock: Clock,
        tally: Counters,
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
        self.archive = archive
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
        self.counters = tally
        self.blocks = block
        self._numbers = count(1)
        self._last_asked = 0
        self._running: dict[ExchangeRecorder, int] = {}
        """When each is to let go; the next one first."""
        self.stopping = False
        self.starvation = Starvation(clock)

    def tape(self, request: Request, *, scope: str = "", key: Key | None = None) -> ExchangeRecorder:
        """A tape for the answer to this request. Use it as a context manager."""
        return ExchangeRecorder(self, next(self._numbers), request, scope, key)

    async def admit(self) -> bool:
        """With `--on-full block`: wait for room before a request is passed on. Gives whether that took time.

        Waiting at the end of an answer alone would not hold back a client that opens a connection for each request.
        """
        if not self.blocks or not self.archive.full:
            return False
        await self.archive.room()
        return True

    async def settled(self, key: Key) -> None:
        """Wait until everything recorded with this key has been committed."""
        if waiting := [task for task, pending in self._pending.items() if pending == key]:
            await asyncio.wait(waiting)
        await self.archive.settled(key)

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
        """Let a tape be kept aside; False where too much waits for that already."""
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

    def has_ended(self, tape: ExchangeRecorder) -> None:
        """It is not to let go any more: it hands over all that is left."""
        self._running.pop(tape, None)

    def asked_at(self) -> int:
        """Now, in ns since the Unix epoch, and never the same twice: equal requests are played in this order."""
        now = self.clock.today()
        if self._last_asked - TIE < now <= self._last_asked:
            now = self._last_asked + 1
        self._last_asked = now
        return now

    async def run(self) -> None:
        """Let go of what streams in flight have said, until cancelled; meanwhile measure how late we are scheduled."""
        self.starvation.start()
        try:
            await self._let_go_in_turns()
        finally:
            self.starvation.stop()

    async def _let_go_in_turns(self) -> None:
        while True:
            now = self.clock.now()
            await self.clock.sleep_until(next(iter(self._running.values()), now + PIECE_NANOSECONDS))
            done = 0
            while self._running and (due := next(iter(self._running.items())))[1] <= self.clock.now():
                tape = due[0]
                del self._running[tape]
                self.will_let_go(tape)
                tape.let_go()
                done += 1
                if done % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def will_let_go(self, tape: ExchangeRecorder) -> None:
        """Within a second, together with those whose turn is the same."""
        turn = PIECE_NANOSECONDS // TURNS
        self._running[tape] = (self.clock.now() + PIECE_NANOSECONDS) // turn * turn
