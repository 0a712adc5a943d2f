"""Recording never hurts traffic: `keep` never waits, trouble is loud, and what was taken is written when it is over."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from replayproxy.cassette import writer_thread as module
from replayproxy.cassette import writing_queue
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.recording_trouble import PATIENCE_NANOSECONDS
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.cassette.writing_queue import BATCH_BYTES, BATCH_PIECES, QUEUE_BYTES
from replayproxy.errors import CassetteError
from replayproxy.model import Ending, Exchange
from replayproxy.ports import ExchangePart
from tests.doubles.fakes import SECOND, ManualClock
from tests.recordings import (
    MATCHER,
    as_stored,
    asked,
    exchange,
    keep,
    pieces,
    read,
    said,
    story,
    streamed,
    unwritable,
)

PATIENCE = 20.0
"""Seconds after which a thread that was waited for has failed."""


class StagedKeeper(CassetteWriter):
    """A keeper that says what it is asked to do, and does at each step what the test wants first."""

    def __init__(self, path: Path) -> None:
        self.log: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        super().__init__(path, MATCHER)

    def _step(self, name: str) -> None:
        self.log.append(name)
        self.before(name)

    def begin(self) -> None:
        """Say so, and begin."""
        self._step("begin")
        super().begin()

    def keep(self, piece: ExchangePart) -> None:
        """Say so, and keep."""
        self._step("keep")
        super().keep(piece)

    def commit(self) -> None:
        """Say so, and commit."""
        self._step("commit")
        super().commit()

    def reopen(self) -> None:
        """Say so, and open again."""
        self._step("reopen")
        super().reopen()

    def train_when_due(self) -> None:
        """Say so, and train."""
        self._step("train")
        super().train_when_due()

    def checkpoint(self) -> None:
        """Say so, and checkpoint."""
        self._step("checkpoint")
        super().checkpoint()

    def seal(self) -> None:
        """Say so, and seal."""
        self._step("seal")
        super().seal()


class Gate:
    """A place where the writing thread waits for the test, and the test for the thread."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, step: str) -> None:
        """In the thread: wait at this step, until opened."""
        if step == self._step:
            self._reached.set()
            in_time = self._opened.wait(PATIENCE)
            self._opened.set()
            assert in_time

    async def reached(self) -> None:
        """In the test: wait until the thread stands there."""
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def open(self) -> None:
        """Let it pass, for ever."""
        self._opened.set()


@dataclass
class Studio:
    """A running writer and its parts."""

    path: Path
    keeper: StagedKeeper
    writer: WriterThread
    clock: ManualClock


def trouble(here: Studio) -> str | None:
    """What the writer says now: it changes while the test waits."""
    return here.writer.trouble


@asynccontextmanager
async def studio(folder: Path, *, queue_bytes: int = QUEUE_BYTES, block: bool = False) -> AsyncIterator[Studio]:
    """A writer that runs while the block does; afterwards it has stopped."""
    path = folder / "a.cassette"
    keeper, clock = StagedKeeper(path), ManualClock()
    writer = WriterThread(keeper, clock, queue_bytes=queue_bytes, block=block)
    writer.start()
    try:
        yield Studio(path, keeper, writer, clock)
    except BaseException:
        keeper.before = lambda _: None  # a test that has failed is not to hang as well
        raise
    finally:
        await asyncio.wait_for(writer.stop(), 2 * PATIENCE)


def run(story: Coroutine[Any, Any, None]) -> None:
    """One that hangs has failed."""
    asyncio.run(asyncio.wait_for(story, 3 * PATIENCE))


def chats(count: int, first: int = 0) -> list[Exchange]:
    """So many different ones."""
    numbers = range(first, first + count)
    return [exchange(asked(f"chat {n}"), said(streamed(story(6, n), n)), n) for n in numbers]


def offer(writer: WriterThread, exchanges: list[Exchange], first: int = 0, cuts: tuple[int, ...] = ()) -> list[bool]:
    """Offer each, in pieces; whether all of it was taken."""
    return [
        False not in [writer.keep(piece) for piece in pieces(item, tape, cuts)]
        for tape, item in enumerate(exchanges, first)
    ]


# In good order


def test_what_is_kept_is_on_the_cassette(tmp_path: Path) -> None:
    """Everything that was taken before `stop` is written, counted, and the file sealed; the queue is empty."""
    kept = chats(30)

    async def story() -> None:
        async with studio(tmp_path) as here:
            assert here.writer.started
            assert offer(here.writer, kept, cuts=(3,)) == [True] * 30
        assert (here.writer.recorded, here.writer.queued_bytes, trouble(here)) == (30, 0, None)
        assert not here.writer.started

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item) for item in kept]
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]


def test_settled_means_that_it_can_be_found(tmp_path: Path) -> None:
    """By any reader, at once; a key of which nothing is on its way does not wait at all."""
    one, other = chats(2)

    async def story() -> None:
        async with studio(tmp_path) as here:
            with CassetteReader(here.path) as reader:
                for count in (1, 2, 3):
                    offer(here.writer, [one], first=count)
                    await here.writer.settled(MATCHER.key(one.request))
                    assert reader.count(MATCHER.key(one.request)) == count
                gate = here.keeper.before = Gate("begin")
                offer(here.writer, [other], first=9)
                await gate.reached()
                await here.writer.settled(MATCHER.key(one.request))
                assert reader.count(MATCHER.key(other.request)) == 0
                gate.open()
                await here.writer.settled(MATCHER.key(other.request))
                assert reader.count(MATCHER.key(other.request)) == 1

    run(story())


def test_who_waits_cuts_the_gathering_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is gathered for a moment, here for a quarter of an hour, unless somebody waits or the end has come."""
    monkeypatch.setattr(writing_queue, "BATCH_NANOSECONDS", 900 * SECOND)
    one, other = chats(2)

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, [one])
            await here.writer.settled(MATCHER.key(one.request))
            offer(here.writer, [other], first=2)
        assert here.writer.recorded == 2

    run(story())


def test_a_stream_in_flight_is_not_waited_for(tmp_path: Path) -> None:
    """Only what has ended can be found, so only that is waited for."""
    (item,) = chats(1)
    first, last = pieces(item, 1, (3,))

    async def story() -> None:
        async with studio(tmp_path) as here:
            here.writer.keep(first)
            await here.writer.settled(MATCHER.key(item.request))
            here.writer.keep(last)
            await here.writer.settled(MATCHER.key(item.request))
            with CassetteReader(here.path) as reader:
                assert reader.count(MATCHER.key(item.request)) == 1

    run(story())


def test_pieces_are_written_in_batches(tmp_path: Path) -> None:
    """As many as have come, up to a number and up to a size: a commit each."""
    small = chats(1)[0]
    large = exchange(asked("large"), said([b"x" * (BATCH_BYTES // 2)]))

    async def story() -> None:
        async with studio(tmp_path) as here:
            gate = here.keeper.before = Gate("commit")
            offer(here.writer, [small])
            await here.writer.settled("rp1:none")
            await gate.reached()
            offer(here.writer, [small] * (BATCH_PIECES + 10), first=10)
            offer(here.writer, [large] * 3, first=1000)
            gate.open()
        commits = "".join("|" if step == "commit" else "." for step in here.keeper.log if step in ("keep", "commit"))
        sizes = [len(batch) for batch in commits.split("|") if batch]  # one without pieces has trained dictionaries
        assert sizes == [1, BATCH_PIECES, 12, 1]

    run(story())


def test_keep_never_waits_and_the_queue_is_bounded(tmp_path: Path) -> None:
    """While the disk stands still pieces are taken as long as they fit; then refused, and what was taken is written."""
    kept = chats(40)
    size = pieces(kept[0], 0)[0].size

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=10 * size) as here:
            gate = here.keeper.before = Gate("begin")
            offer(here.writer, kept[:1])
            await gate.reached()
            taken = offer(here.writer, kept[1:], first=1)
            assert 5 <= sum(taken) <= 10
            assert taken == [True] * sum(taken) + [False] * (39 - sum(taken))
            assert here.writer.queued_bytes <= 10 * size
            assert here.writer.full
            for tape, was_taken in enumerate(taken, 1):
                if not was_taken:
                    here.writer.drop(tape, "queue full")
            gate.open()
        assert dict(here.writer.dropped) == {"queue full": 39 - sum(taken)}
        assert here.writer.recorded == 1 + sum(taken)
        assert read(here.path) == [as_stored(item) for item in kept[: 1 + sum(taken)]]
        with CassetteReader(here.path) as cassette:
            assert cassette.all("SELECT reason, sum(exchanges) FROM dropped") == [("queue full", 39 - sum(taken))]

    run(story())


def test_who_waits_for_room_gets_it_before_anything_is_refused(tmp_path: Path) -> None:
    """`full` comes early: as long as everybody waits who can, nothing of theirs is lost."""
    kept = chats(20)

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=30_000) as here:
            gate = here.keeper.before = Gate("begin")

            async def record(tape: int, item: Exchange) -> bool:
                for piece in pieces(item, tape, (3,)):
                    await here.writer.room()
                    if not here.writer.keep(piece):
                        return False
                return True

            recording = [asyncio.create_task(record(tape, item)) for tape, item in enumerate(kept)]
            await gate.reached()
            assert here.writer.full
            assert not all(task.done() for task in recording)
            gate.open()
            assert all(await asyncio.gather(*recording))
        assert sorted(read(here.path), key=lambda item: item.recorded_at) == [as_stored(item) for item in kept]

    run(story())


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), OSError(28, "No space left")], ids=str)
def test_who_blocks_loses_nothing_to_a_disk_that_fails_for_a_while(
    tmp_path: Path, error: Exception, leaving: bool
) -> None:
    """However many wait, also those that leave meanwhile: what was taken up before is kept, new requests wait."""
    kept = chats(60)

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=12_000, block=True) as here:
            disk = here.keeper.before = BrokenDisk("begin", error)

            async def record(tape: int, item: Exchange) -> bool:
                if not leaving:
                    await here.writer.room()
                return here.writer.keep(pieces(item, tape)[0])

            recording = [asyncio.create_task(record(tape, item)) for tape, item in enumerate(kept)]
            await disk.hit()
            assert here.writer.full
            late = asyncio.create_task(record(60, chats(1, first=60)[0]))
            if not leaving:
                await asyncio.sleep(0)
                assert not late.done()
            await disk.repaired()
            assert all(await asyncio.gather(*recording, late))
        assert (here.writer.recorded, sum(here.writer.dropped.values())) == (61, 0)
        assert verify(here.path) == (61, [])

    run(story())


def test_who_blocks_does_not_wait_for_a_dead_disk_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a minute traffic flows on, what does not fit is dropped and counted, and the log says so; until it works
    again: then they wait again."""
    kept = chats(30)

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=20_000, block=True) as here:
            disk = here.keeper.before = BrokenDisk("begin", sqlite3.OperationalError("disk I/O error"))
            offer(here.writer, kept)
            await disk.hit_again()  # what failed before has been said
            waiting = asyncio.create_task(here.writer.room())
            here.clock.move(PATIENCE_NANOSECONDS - 1)
            await disk.hit_again()
            assert not waiting.done()
            here.clock.move(1)
            await asyncio.wait_for(waiting, PATIENCE)
            assert (here.writer.keep(pieces(kept[0], 99)[0]), here.writer.full) == (False, True)
            here.writer.drop(99, "queue full")
            await disk.repaired()
            await asyncio.wait_for(here.writer.room(), PATIENCE)
            assert here.writer.keep(pieces(chats(1, first=50)[0], 100)[0])
        assert (here.writer.recorded, dict(here.writer.dropped)) == (31, {"queue full": 1})
        said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert "clients wait when the queue is full, for 60 s at most" in said[0]
        assert "traffic flows on" in said[1]

    run(story())


def test_what_is_dropped_leaves_nothing_and_is_noted(tmp_path: Path) -> None:
    """Also pieces that are on the disk already; the cassette says how many, and why."""
    one, other = chats(2)

    async def story() -> None:
        async with studio(tmp_path) as here:
            here.writer.keep(pieces(one, 1, (3,))[0])
            offer(here.writer, [other], first=2)
            await here.writer.settled(MATCHER.key(other.request))
            here.writer.drop(1, "queue full")
            here.writer.drop(77, "queue full")
        with CassetteReader(here.path) as cassette:
            assert cassette.all("SELECT reason, sum(exchanges) FROM dropped") == [("queue full", 2)]
        assert read(here.path) == [as_stored(other)]

    run(story())


def test_the_log_is_moved_into_the_file_once_a_second(tmp_path: Path) -> None:
    """By the clock that the writer was given, between batches; a checkpoint that cannot be now is no trouble."""

    def busy(step: str) -> None:
        if step == "checkpoint":
            raise sqlite3.OperationalError("database is locked")

    async def story() -> None:
        async with studio(tmp_path) as here:
            here.keeper.before = busy
            for number, item in enumerate(chats(6)):
                offer(here.writer, [item], first=number)
                here.clock.move(SECOND // 2)
                await here.writer.settled(MATCHER.key(item.request))
            assert trouble(here) is None
        assert here.keeper.log.count("checkpoint") == 3
        assert len(read(here.path)) == 6

    run(story())


# Trouble with the disk


def failing(kind: type[sqlite3.Error], code: int | None) -> sqlite3.Error:
    """As SQLite would raise it."""
    error = kind("no luck")
    if code is not None:
        error.sqlite_errorcode = code
    return error


TROUBLES: dict[str, tuple[Exception, bool]] = {
    "a full disk": (failing(sqlite3.OperationalError, sqlite3.SQLITE_FULL), False),
    "an I/O error": (failing(sqlite3.OperationalError, sqlite3.SQLITE_IOERR), True),
    "a lock of another process": (failing(sqlite3.OperationalError, sqlite3.SQLITE_BUSY), True),
    "an error of Python's own": (failing(sqlite3.OperationalError, None), True),
    "a damaged page": (failing(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT), True),
    "no file descriptors": (OSError(24, "Too many open files"), True),
}


class BrokenDisk:
    """Raises at a step, until it is repaired; says when it has been hit, and when something was committed."""

    def __init__(self, step: str, error: Exception, *, also_when_opening: bool = False) -> None:
        self._step = step
        self._error = error
        self._also_when_opening = also_when_opening
        self.broken = True
        self._hit = threading.Event()
        self._well = threading.Event()
        self._openings = threading.Semaphore(0)

    def __call__(self, step: str) -> None:
        """In the thread."""
        if step == self._step and self.broken:
            self._hit.set()
            raise self._error
        if step == "reopen" and self.broken and self._also_when_opening:
            self._openings.release()
            raise CassetteError("it cannot be opened")
        if step == "train":
            self._well.set()

    async def hit(self) -> None:
        """In the test: wait until it has made trouble."""
        assert await asyncio.to_thread(self._hit.wait, PATIENCE)

    async def hit_again(self) -> None:
        """In the test: wait until it has made trouble twice more, so that the first of them is over."""
        for _ in range(2):
            self._hit.clear()
            await self.hit()

    async def tried_to_open(self) -> None:
        """In the test: wait until the file could not be opened again, once more."""
        assert await asyncio.to_thread(self._openings.acquire, timeout=PATIENCE)

    async def repaired(self) -> None:
        """In the test: make it well, and wait until something was written."""
        self._well.clear()
        self.broken = False
        assert await asyncio.to_thread(self._well.wait, PATIENCE)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken disk is tried again at once."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


@pytest.mark.parametrize("step", ["begin", "keep", "commit"])
@pytest.mark.parametrize(("error", "opens_again"), TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_of_the_disk_is_loud_and_passes(
    tmp_path: Path, step: str, error: Exception, opens_again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Pieces are still taken; nobody waits for what cannot be found; it recovers by itself, and nothing was lost."""
    before, during, flying = chats(3), chats(10, first=10), chats(1, first=90)
    parts = pieces(flying[0], 90, (2, 4))

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, before)
            here.writer.keep(parts[0])
            await here.writer.settled(MATCHER.key(before[0].request))
            disk = here.keeper.before = BrokenDisk(step, error)
            assert offer(here.writer, during, first=10) == [True] * 10
            here.writer.keep(parts[1])
            waiting = asyncio.create_task(here.writer.settled(MATCHER.key(during[0].request)))
            await disk.hit()
            await waiting
            assert str(error) in str(trouble(here))
            await here.writer.settled(MATCHER.key(during[0].request))
            here.writer.keep(parts[2])
            await disk.repaired()
            await here.writer.settled(MATCHER.key(flying[0].request))
            assert trouble(here) is None
        assert (here.writer.recorded, sum(here.writer.dropped.values())) == (14, 0)
        assert ("reopen" in here.keeper.log) is opens_again
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]

    run(story())
    found = sorted(read(tmp_path / "a.cassette"), key=lambda item: item.recorded_at)
    assert found == [as_stored(item) for item in [*before, *during, *flying]]
    assert verify(tmp_path / "a.cassette") == (14, [])


def test_a_file_that_cannot_be_opened_again_is_tried_until_it_can(tmp_path: Path) -> None:
    """What waits is not taken for pieces that cannot be written."""
    kept = chats(5)

    async def story() -> None:
        async with studio(tmp_path) as here:
            error = failing(sqlite3.OperationalError, sqlite3.SQLITE_IOERR)
            disk = here.keeper.before = BrokenDisk("begin", error, also_when_opening=True)
            offer(here.writer, kept)
            await disk.hit()
            for _ in range(3):
                await disk.tried_to_open()
            assert "cannot be opened again" in (trouble(here) or "")
            await disk.repaired()
        assert (here.writer.recorded, dict(here.writer.dropped)) == (5, {})

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item) for item in kept]


def test_the_queue_fills_while_the_disk_is_full(tmp_path: Path) -> None:
    """What does not fit is refused whole; what fitted is there afterwards."""
    kept = chats(30)
    size = pieces(kept[0], 0)[0].size

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=10 * size) as here:
            disk = here.keeper.before = BrokenDisk("commit", TROUBLES["a full disk"][0])
            taken = offer(here.writer, kept)
            await disk.hit()
            assert sum(taken) < 30
            await disk.repaired()
        assert read(here.path) == [as_stored(item) for item, there in zip(kept, taken, strict=True) if there]

    run(story())


@pytest.mark.parametrize("error", [error for error, _ in TROUBLES.values()], ids=TROUBLES.keys())
def test_a_disk_that_is_never_well_again_is_not_waited_for(tmp_path: Path, error: Exception) -> None:
    """`stop` comes to an end; what could not be written is counted, and what was written before is whole."""
    before, during = chats(3), chats(600, first=10)
    parts = pieces(chats(1, first=5)[0], 5, (2, 4))

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, before)
            here.writer.keep(parts[0])
            await here.writer.settled(MATCHER.key(before[0].request))
            disk = here.keeper.before = BrokenDisk("begin", error)
            here.writer.keep(parts[1])
            offer(here.writer, during, first=10)
            here.writer.keep(parts[2])
            await disk.hit()
        assert here.writer.recorded == 3
        assert dict(here.writer.dropped) == {"write failed": 601}
        assert here.keeper.log.count("begin") < 10_000

    run(story())
    found = read(tmp_path / "a.cassette")
    assert [item for item in found if item.response.ending is Ending.COMPLETE] == [as_stored(item) for item in before]
    assert verify(tmp_path / "a.cassette")[1] == []


def test_a_connection_that_died_is_opened_again_to_seal(tmp_path: Path) -> None:
    """What was written before the trouble is left in one whole file."""
    kept = chats(2)

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, kept)
            await here.writer.settled(MATCHER.key(kept[0].request))

            def die(step: str) -> None:
                if step == "begin" and not here.keeper.log.count("reopen"):
                    here.keeper._connection.close()
                    raise failing(sqlite3.OperationalError, sqlite3.SQLITE_IOERR)

            here.keeper.before = die
            offer(here.writer, chats(1, first=9), first=9)
            await here.writer.stop()
        assert dict(here.writer.dropped) in ({}, {"write failed": 1})

    run(story())
    assert read(tmp_path / "a.cassette")[:2] == [as_stored(item) for item in kept]
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]


def test_after_giving_up_nothing_more_is_written(tmp_path: Path) -> None:
    """The batches behind a lost one would have holes: a stream must not end complete without its middle."""
    parts = pieces(chats(1)[0], 5, (2, 4))

    async def story() -> None:
        async with studio(tmp_path) as here:
            here.writer.keep(parts[0])
            here.writer.keep(replace(pieces(chats(1, first=9)[0], 9)[0]))
            await here.writer.settled(MATCHER.key(chats(1, first=9)[0].request))
            gate = Gate("begin")
            failures = iter([TROUBLES["a full disk"][0]])

            def once(step: str) -> None:
                gate(step)
                if step == "begin" and (error := next(failures, None)) is not None:
                    raise error

            here.keeper.before = once
            here.writer.keep(parts[1])
            await gate.reached()
            here.writer.keep(parts[2])
            stopping = asyncio.create_task(here.writer.stop())
            await asyncio.sleep(0)
            gate.open()
            await stopping

    run(story())
    assert [item.response.ending for item in read(tmp_path / "a.cassette")] == [
        Ending.PROXY_STOPPED,
        Ending.COMPLETE,
    ]
    assert verify(tmp_path / "a.cassette") == (2, [])


LIMITED = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from replayproxy.cassette import writer_thread as module
from replayproxy.cassette.writer import CassetteWriter
from tests.doubles.fakes import ManualClock
from tests.recordings import *

module.RETRY_SECONDS = 0.001
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
words = [[f"{n} {m} {random.Random(n * 50 + m).random()}" for m in range(50)] for n in range(200)]
kept = [exchange(asked(str(n)), said(streamed(spoken)), n) for n, spoken in enumerate(words)]

async def story():
    writer = module.WriterThread(CassetteWriter(path, MATCHER), ManualClock())
    writer.start()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, most))
    taken = [writer.keep(pieces(item, tape)[0]) for tape, item in enumerate(kept)]
    while writer.trouble is None:
        await asyncio.sleep(0)
    trouble, recorded = writer.trouble, writer.recorded
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    while writer.trouble is not None:
        await asyncio.sleep(0)
    await writer.stop()
    print(json.dumps([all(taken), trouble, recorded < 200, writer.recorded, dict(writer.dropped)]))

asyncio.run(story())
assert read(path) == [as_stored(item) for item in kept]
"""


def test_a_file_that_may_not_grow_recovers_when_it_may(tmp_path: Path) -> None:
    """The kernel's own refusal, and not a fake's: RLIMIT_FSIZE in a process of its own, with SIGXFSZ ignored."""
    path = tmp_path / "a.cassette"
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr
    taken, trouble, was_held_up, recorded, dropped = json.loads(ran.stdout)
    assert (taken, was_held_up, recorded, dropped) == (True, True, 200, {})
    assert trouble.startswith("the cassette cannot be written: ")
    assert verify(path) == (200, [])


# Pieces that cannot be written


@pytest.mark.parametrize("number", range(4))
def test_a_poisoned_exchange_is_dropped_alone(tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture) -> None:
    """The others of its batch are written; it is counted once, said in the log, and no trouble of the disk."""
    kept = chats(20)
    poison = replace(unwritable(chats(1, first=99)[0])[number], number=99)

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, kept[:10])
            here.writer.keep(poison)
            offer(here.writer, kept[10:], first=10)
            assert poison.key is not None
            await here.writer.settled(poison.key)
            assert trouble(here) is None
        assert dict(here.writer.dropped) == {"cannot be written": 1}
        assert here.writer.recorded == 20
        with CassetteReader(here.path) as cassette:
            assert cassette.all("SELECT reason, sum(exchanges) FROM dropped") == [("cannot be written", 1)]

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item) for item in kept]
    assert [record.message for record in caplog.records] == ["an exchange cannot be written and is dropped"]


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_poisoned_piece_takes_its_whole_tape(tmp_path: Path, bad: int, at_once: bool) -> None:
    """An answer with a hole is none: nothing of it stays, nothing more of it is written, and it is counted once."""
    kept = chats(3)
    parts = pieces(chats(1, first=99)[0], 99, (2, 4))
    parts[bad] = replace(parts[bad], chunks=replace(parts[bad].chunks, times=[2**80] * len(parts[bad].chunks)))

    async def story() -> None:
        async with studio(tmp_path) as here:
            for number, part in enumerate(parts):
                offer(here.writer, kept[number : number + 1], first=number)
                here.writer.keep(part)
                if not at_once:
                    await here.writer.settled(MATCHER.key(kept[number].request))
            here.writer.keep(pieces(chats(1, first=99)[0], 100)[0])
        assert dict(here.writer.dropped) == {"cannot be written": 1}
        assert here.writer.recorded == 4

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item) for item in [*kept, *chats(1, first=99)]]
    assert verify(tmp_path / "a.cassette") == (4, [])


def test_training_that_fails_writes_nothing_twice(tmp_path: Path) -> None:
    """It comes after the commit: what was committed is not tried again, and the next batch says that all is well."""
    kept = chats(3)

    def once(step: str) -> None:
        if step == "train":
            raise ValueError("no dictionary today")

    async def story() -> None:
        async with studio(tmp_path) as here:
            here.keeper.before = once
            offer(here.writer, kept[:2])
            await here.writer.settled(MATCHER.key(kept[0].request))
            assert trouble(here) is not None
            here.keeper.before = lambda _: None
            offer(here.writer, kept[2:], first=2)
        assert (here.writer.recorded, dict(here.writer.dropped), trouble(here)) == (3, {}, None)

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item) for item in kept]


# The end of the thread


class Bug(BaseException):
    """Something that nobody catches."""


def test_a_dead_thread_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is trouble that stays; pieces are refused, who waits is let go, and the lock is given back at the end."""
    (item,) = chats(1)

    def die(step: str) -> None:
        gate(step)
        raise Bug

    gate = Gate("begin")

    async def story() -> None:
        async with studio(tmp_path, queue_bytes=10_000) as here:
            here.keeper.before = die
            offer(here.writer, [item])
            await gate.reached()
            while not here.writer.full:
                here.writer.keep(pieces(item, 5)[0])
            waiting = [here.writer.room(), here.writer.settled(MATCHER.key(item.request))]
            tasks = [asyncio.create_task(each) for each in waiting]
            await asyncio.sleep(0)
            gate.open()
            await asyncio.gather(*tasks)
            await asyncio.to_thread(here.writer._thread.join, PATIENCE)
            assert not here.writer.keep(pieces(item, 6)[0])
            assert "has died" in (trouble(here) or "")
            await here.writer.room()
            await here.writer.settled(MATCHER.key(item.request))
        assert "has died" in (trouble(here) or "")

    run(story())
    assert "please report this" in caplog.text
    keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
    keep(keeper, pieces(item, 1))
    keeper.seal()
    assert read(tmp_path / "a.cassette") == [as_stored(item)]


def test_a_cassette_that_cannot_be_sealed_is_let_go(tmp_path: Path) -> None:
    """It is said; the file with its log is whole, and the next recorder may have it."""
    (item,) = chats(1)

    def refuse(step: str) -> None:
        if step == "seal":
            raise TROUBLES["a full disk"][0]

    async def story() -> None:
        async with studio(tmp_path) as here:
            offer(here.writer, [item])
            here.keeper.before = refuse
        assert "could not be sealed" in (trouble(here) or "")

    run(story())
    assert read(tmp_path / "a.cassette") == [as_stored(item)]
    CassetteWriter(tmp_path / "a.cassette", MATCHER).seal()
    assert read(tmp_path / "a.cassette") == [as_stored(item)]


def test_a_writer_that_was_never_started_takes_nothing(tmp_path: Path) -> None:
    """There is nobody to write it."""
    keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
    writer = WriterThread(keeper, ManualClock())
    assert not writer.keep(pieces(chats(1)[0], 1)[0])
    keeper.close()
