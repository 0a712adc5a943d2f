"""The one writing thread: takes parts of exchanges from the event loop and writes them in batches.

Recording must never hurt traffic. `keep` never waits and never raises; what does not fit into the queue is refused,
whole exchanges at a time, and counted. A full disk or an I/O error makes the writer `degraded`: it goes on trying, the
queue fills, and when the disk is well again so is the recording. A part that cannot be written takes its whole exchange
with it, and nothing else: an answer with a hole is none.

    loop ── keep ──▶ queue (bounded in bytes) ──▶ thread: begin, keep …, commit every 250 ms or 1 s, 256 parts or 4 MiB
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from replayproxy.cassette.file_guard import FileLost
from replayproxy.cassette.hand_over_counts import HandOverCounts
from replayproxy.cassette.recording_trouble import RecordingTrouble, is_damage, may_pass
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writing_queue import QUEUE_BYTES, Drop, Order, Rotate, Stop, ToWrite, WritingQueue
from replayproxy.core.server_state import ServerState
from replayproxy.errors import CassetteError, Damaged, ReplayProxyError
from replayproxy.model import Key
from replayproxy.ports import Clock, ExchangePart
from replayproxy.views.access import AccessEntry

log = logging.getLogger("replayproxy.recording")

CHECKPOINT_NANOSECONDS = 1_000_000_000
RETRY_SECONDS = 1.0


class WriterThread:
    """An `Archive` over a `CassetteWriter`. `start` it; `await stop()` writes everything that is waiting and seals."""

    def __init__(
        self,
        writer: CassetteWriter,
        clock: Clock,
        *,
        queue_bytes: int = QUEUE_BYTES,
        block: bool = False,
        access: Callable[[AccessEntry], None] | None = None,
    ) -> None:
        """`block`: clients wait for room, so nothing is refused for want of it (see `recording_trouble`).

        `access` is called in the writing thread with each exchange that has been committed; it must not wait.
        """
        self._writer = writer
        self._access = access
        writer.keeps_entries = access is not None
        self._clock = clock
        self._queue = WritingQueue(queue_bytes)
        self._block = block
        self._trouble = RecordingTrouble(clock, block=block)
        self._dropped: Counter[str] = Counter()
        self._dropped_noted: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="replayproxy-writer", daemon=True)
        self._last_checkpoint = clock.now()
        self._stopping = threading.Event()
        self._lost: set[int] = set()
        """Exchanges of which a part could not be written."""
        self._suspect = False
        """The connection has seen an I/O error: the file is to be opened again."""
        self._gave_up = False
        """Stopping, and the disk is not well: nothing more is written, for it would have holes."""
        self.hand_overs = HandOverCounts()
        """What `verify --pair` would find of the exchanges that were recorded so far."""
        self.recorded = 0
        self._recorded_here = 0
        """Of these, those on the file that is being written now."""
        self.loss: str | None = None
        """What was recorded and is lost, as a sentence; None where nothing is."""
        self.moved: Callable[[Path, Path], None] | None = None
        """Called in the loop when recording goes on in another file, with the old and the new name."""
        self._writing = False
        self._sealed = False

    # In the event loop

    def start(self) -> None:
        """Start the thread. Call it in the event loop."""
        self._queue.start()
        self._writing = True
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> str | None:
        """Why recording is degraded; None when it is well."""
        return self._trouble.reason

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        return self._queue.queued_bytes

    @property
    def dropped(self) -> Counter[str]:
        """Exchanges that were not recorded, by reason."""
        return self._dropped

    @property
    def full(self) -> bool:
        """Who can wait should. It is half of the queue, so that of those who wait nothing is refused."""
        return self._queue.is_full

    def keep(self, part: ExchangePart) -> bool:
        """Take a part. Return False if there is no room for it, or no thread to write it."""
        if not self._writing:
            return False
        # A client that waits may leave, and then what it got is kept at once; and when there is room again, all who
        # waited go on. Of requests in flight nothing is refused therefore; only new ones have to wait.
        if not self._queue.has_room_for(part.size) and not (self._block and self._is_waited_for):
            return False
        self._queue.put(part)
        return True

    def keep_state(self, state: ServerState) -> bool:
        """Take what the server published of its own state. Return False if there is no room for it.

        It has half of the queue: exchanges come first.
        """
        if not self._writing or self.full:
            return False
        self._queue.put(state)
        return True

    def drop(self, number: int, reason: str) -> None:
        """Forget an exchange."""
        self._dropped[reason] += 1
        self._queue.put(Drop(number))

    async def room(self) -> None:
        """Wait until no longer full."""
        while self.full and self._is_waited_for:
            await self._queue.wait_for_room()

    @property
    def _is_waited_for(self) -> bool:
        """Whether waiting makes sense: there is a thread that writes, and its trouble has not lasted for too long."""
        return self._writing and not self._trouble.has_lasted

    async def settled(self, key: Key) -> None:
        """Wait until everything kept with this key has been committed. Trouble is not waited for."""
        if not self._queue.is_settled(key) and self.trouble is None:
            await self._queue.wait_for_all_before()

    async def rotate(self, path: Path) -> None:
        """Go on onto a new cassette at `path`, streams in flight too, and seal the old one.

        Raises `CassetteError` where that cannot be; then recording goes on where it was.
        """
        if not self._writing:
            raise CassetteError(f"nothing is being recorded any more: {self.trouble or 'the proxy is stopping'}")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(Rotate(path, waiter))
        await waiter

    async def stop(self) -> None:
        """Write what is waiting, seal the file, end the thread. A disk that is still not well is not waited for."""
        self._stopping.set()
        self._queue.put(Stop())
        await asyncio.to_thread(self._thread.join)
        if not self._sealed:
            self._writer.close()

    # In the writing thread

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                batch = self._queue.next_batch()
                if not batch:
                    self._look_after_file()
                    self._checkpoint_when_due()
                stopping = any(isinstance(order, Stop) for order in batch)
                self._take(batch)
            self._seal()
        except BaseException:
            log.exception("the writing thread has died: please report this")
            self._degrade("the writing thread has died: nothing more is recorded; its log says why; restart the proxy")
        finally:
            self._writing = False
            self._queue.make_room()
            self._queue.settle_all()

    def _take(self, batch: list[Order]) -> None:
        """Write what there is to write, then say so."""
        orders = [order for order in batch if isinstance(order, ToWrite)]
        if orders or dict(self._dropped) != self._dropped_noted:
            self._write_until_done(orders)
            self._note_written()
            self._tend()
        self._lost.difference_update(
            order.number
            for order in orders
            if isinstance(order, Drop) or (isinstance(order, ExchangePart) and order.end is not None)
        )
        self._queue.give_back(batch)
        for order in batch:
            if isinstance(order, Rotate):
                self._rotate(order)
        self._queue.settle(batch)

    def _note_written(self) -> None:
        for part in self._writer.take_handed_over():
            self.hand_overs.note(part)
        access = self._access
        if access is None:
            return
        for entry in self._writer.take_entries():
            try:
                access(entry())
            except Exception:  # recording goes on, whatever a recorded text does to the line about it
                log.exception("a line of the access log could not be made: please report this")

    def _rotate(self, order: Rotate) -> None:
        """The old file is only let go of when the new one is there."""
        self._look_after_file()
        try:
            if self.trouble is not None:
                raise CassetteError(f"{self._writer.path} cannot be left now: {self.trouble}")
            if order.path.exists():
                raise CassetteError(f"{order.path} is there already: name another file, or remove it")
            fresh = CassetteWriter(order.path, self._writer.matcher, full_durability=self._writer.full_durability)
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._queue.fail(order, error)
            return
        fresh.keeps_entries = self._access is not None
        old, self._writer = self._writer, fresh
        self._recorded_here = 0
        try:
            self._lost |= old.hand_over(fresh)
            old.seal()
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            log.error("%s could not be sealed: %s; its -wal file belongs to it", old.path, error)
            with suppress(sqlite3.Error):
                old.close()
        self._queue.succeed(order)

    def _seal(self) -> None:
        try:
            self._seal_what_is_there()
        except (sqlite3.Error, OSError, ReplayProxyError) as error:
            self._degrade(f"the cassette could not be sealed: {error}; its -wal file belongs to it")

    def _seal_what_is_there(self) -> None:
        for _ in range(3):  # somebody may take it away again
            was = self._writer.path
            try:
                if self._suspect:
                    self._writer.reopen()
                    self._suspect = False
                self._writer.seal()
                self._sealed = True
                if self._writer.path != was:
                    self._queue.in_loop(self._say_moved, was, self._writer.path)
                return
            except FileLost as lost:
                if not self._save(lost):
                    break
        self._lose_all(f"{self._writer.path} could not be put back")

    # A file that is taken away

    def _look_after_file(self) -> None:
        """Once a second, whether anything is written or not."""
        try:
            if not self._suspect:
                self._writer.look_for_strangers()
        except FileLost as lost:
            self._save(lost)

    def _save(self, lost: FileLost) -> bool:
        """Put what a lost file holds under a name again, and go on there. False: it cannot be done now."""
        self._degrade(str(lost))
        was = self._writer.path
        try:
            try:
                self._writer.rescue()
            except (CassetteError, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.OperationalError) and not is_damage(error):
                    raise
                self._writer.begin_again()
                self._lose_all(f"{lost}")
                self._trouble.end()  # the loss stays to be said
                log.error("recording goes on onto %s", self._writer.path)
            else:
                self._trouble.end()
                log.warning("%s: nothing is lost, recording goes on onto %s", lost, self._writer.path)
        except (OSError, sqlite3.Error, ReplayProxyError) as error:
            self._degrade(f"{lost}, and what it held cannot be put back: {error}")
            return False
        self._suspect = False
        self._queue.in_loop(self._say_moved, was, self._writer.path)
        return True

    def _say_moved(self, old: Path, new: Path) -> None:
        if self.moved is not None:
            self.moved(old, new)

    def _lose_all(self, why: str) -> None:
        """What was recorded onto this file is not there."""
        lost, self._recorded_here = self._recorded_here, 0
        self.recorded -= lost
        self._dropped["lost with its file"] += lost
        self.loss = f"{why}: {lost} recorded exchanges are lost"
        log.error("%s", self.loss)

    def _write_until_done(self, orders: list[ToWrite]) -> None:
        """Write a batch and wait out trouble of the disk. A part that cannot be written goes with its exchange."""
        while not self._gave_up:
            try:
                self._write(orders)
            except FileLost as lost:
                self._roll_back()
                if not self._save(lost):
                    self._gave_up = self._stopping.wait(RETRY_SECONDS)
            except Exception as error:
                self._roll_back()
                if may_pass(error):
                    self._suspect = self._suspect or getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL
                    self._degrade(f"the cassette cannot be written: {error}")
                    self._gave_up = self._stopping.wait(RETRY_SECONDS)
                elif len(orders) == 1:
                    log.exception("%s cannot be written and is dropped", _name_of(orders[0]))
                    self._lose(orders[0])
                    return
                else:
                    for order in orders:
                        self._write_until_done([order])
                    return
            else:
                if self.trouble is not None:
                    log.warning("recording works again")
                    self._trouble.end()
                return
        self._dropped["write failed"] += sum(
            isinstance(order, ExchangePart) and order.end is not None for order in orders
        )

    def _write(self, orders: list[ToWrite]) -> None:
        if self._suspect:
            try:
                self._writer.reopen()
            except ReplayProxyError as error:
                raise OSError(f"it cannot be opened again: {error}") from error
            self._suspect = False
        self._writer.begin()
        recorded = 0
        for order in orders:
            if isinstance(order, Drop):
                self._writer.drop(order.number)
            elif isinstance(order, ServerState):
                self._writer.keep_state(order)
            elif order.number not in self._lost:
                self._writer.keep(order)
                recorded += order.end is not None
        dropped = Counter(dict(self._dropped))
        for reason, count in (dropped - self._dropped_noted).items():
            self._writer.note_dropped(reason, count, self._clock.today())
        self._writer.commit()
        self._dropped_noted = dropped
        self.recorded += recorded
        self._recorded_here += recorded

    def _lose(self, order: ToWrite) -> None:
        """Drop the whole exchange: what is written of it, and what is still to come."""
        if isinstance(order, ExchangePart):
            self._dropped["cannot be written"] += 1
            self._lost.add(order.number)
            self._write_until_done([Drop(order.number)])

    def _roll_back(self) -> None:
        try:
            self._writer.rollback()
        except sqlite3.Error:
            self._suspect = True

    def _tend(self) -> None:
        """Between batches: train once, checkpoint every second. What fails here has cost no exchange."""
        if self._suspect or self._gave_up:
            return
        try:
            self._writer.train_when_due()
        except Damaged as error:  # what stood there before; `verify` names it, and what is new is written all the same
            log.warning("the cassette stays larger than it need be: %s", error)
        except Exception as error:
            log.exception("the cassette stays larger than it need be")
            self._suspect = True
            self._degrade(f"the cassette cannot be packed again: {error}")
        self._checkpoint_when_due()

    def _checkpoint_when_due(self) -> None:
        if self._clock.now() - self._last_checkpoint < CHECKPOINT_NANOSECONDS:
            return
        self._last_checkpoint = self._clock.now()
        self._look_after_file()
        with suppress(
            sqlite3.Error, FileLost
        ):  # busy, or no disk: the log keeps what was committed, and the next batch will say
            self._writer.checkpoint()

    def _degrade(self, trouble: str) -> None:
        self._trouble.begin(trouble)
        self._queue.settle_all()
        if not self._is_waited_for:
            self._queue.make_room()
        self._trouble.complain(waiting=self._is_waited_for)


def _name_of(order: ToWrite) -> str:
    return "the state of the server" if isinstance(order, ServerState) else "an exchange"
