"""A cassette that is taken away under its recorder: nothing is lost, or the loss is counted and said."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from replayproxy.cassette import writer_thread as module
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.file_guard import FileGuard, beside
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange
from tests.doubles.fakes import SECOND, ManualClock
from tests.recordings import MATCHER, chats, pieces, read, record

PATIENCE = 20.0
FIRST, LATER = chats(20), chats(20, first=100)
FLYING = chats(1, first=200)[0]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done now is tried again at once."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


def prompts(exchanges: list[Exchange]) -> set[bytes]:
    """What was asked."""
    return {item.request.body for item in exchanges}


@dataclass
class Run:
    """What became of a recording."""

    writer: WriterThread
    moved: list[Path] = field(default_factory=list)
    degraded: bool = False

    def found(self, path: Path) -> set[bytes]:
        """What is there, under all names that were said."""
        names = [name for name in {path, *self.moved} if name.exists()]
        there: set[bytes] = set()
        for name in names:
            try:
                there |= prompts(read(name))
            except CassetteError:
                continue
            assert verify(name)[1] == []
        return there


async def recorded(path: Path, harm: Callable[[Path], None], *, quiet: bool = False, late: bool = False) -> Run:
    """Record, do harm, record on (or not: `quiet`; or only seal: `late`), seal."""
    clock = ManualClock()
    writer = WriterThread(CassetteWriter(path, MATCHER), clock)
    run = Run(writer)
    writer.moved = lambda _, new: run.moved.append(new)
    writer.start()
    try:
        first, *rest = pieces(FLYING, 900, (4, 8))
        writer.keep(first)
        for tape, item in enumerate(FIRST):
            writer.keep(pieces(item, tape)[0])
        await writer.settled(MATCHER.key(FIRST[-1].request))
        await writer.settled(MATCHER.key(FIRST[-1].request))
        while not checkpointed(path):
            writer.drop(901, "none")
            clock.move(2 * SECOND)
            await asyncio.sleep(0.01)
        harm(path)
        clock.move(2 * SECOND)
        if not late:
            for _ in range(2000 if quiet else 0):
                if run.moved or writer.trouble or writer.loss:
                    break
                await asyncio.sleep(0.001)
            for piece in rest:
                writer.keep(piece)
            for tape, item in enumerate(LATER, 100):
                writer.keep(pieces(item, tape)[0])
            await writer.settled(MATCHER.key(LATER[-1].request))
            clock.move(2 * SECOND)
    finally:
        await asyncio.wait_for(writer.stop(), PATIENCE)
    run.degraded = writer.trouble is not None or writer.loss is not None
    return run


def checkpointed(path: Path) -> bool:
    """Whether the file itself holds what was recorded, and not only its log."""
    return path.stat().st_size > 8 * 4096


def deleted(path: Path) -> None:
    """`rm chat.cassette`."""
    path.unlink()


def all_deleted(path: Path) -> None:
    """`rm chat.cassette*`."""
    for name in path.parent.glob(f"{path.name}*"):
        name.unlink()


def folder_removed(path: Path) -> None:
    """`rm -r folder`."""
    shutil.rmtree(path.parent)


def folder_renamed(path: Path) -> None:
    """`mv folder other`."""
    path.parent.rename(path.parent.with_name("elsewhere"))


def renamed(path: Path) -> None:
    """`mv chat.cassette old.cassette`."""
    path.rename(path.with_name("old.cassette"))


def log_deleted(path: Path) -> None:
    """`rm chat.cassette-wal`."""
    path.with_name(f"{path.name}-wal").unlink()


def index_deleted(path: Path) -> None:
    """`rm chat.cassette-shm`."""
    path.with_name(f"{path.name}-shm").unlink()


def replaced_by_a_cassette(path: Path) -> None:
    """`mv other.cassette chat.cassette`."""
    record(path.with_name("other"), chats(3, first=500)).replace(path)


def replaced_by_something(path: Path) -> None:
    """`mv notes.txt chat.cassette`."""
    other = path.with_name("other")
    other.write_text("mine")
    other.replace(path)


def replaced_by_a_folder(path: Path) -> None:
    """`rm chat.cassette; mkdir chat.cassette`."""
    path.unlink()
    path.mkdir()


def replaced_by_a_recording(path: Path) -> None:
    """Another program's database in use, with a log of its own."""
    all_deleted(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("INSERT INTO theirs VALUES (1)")
    connection.commit()
    OTHERS.append(connection)


OTHERS: list[sqlite3.Connection] = []

TAKEN_AWAY = [
    *(deleted, all_deleted, folder_removed, folder_renamed, renamed, log_deleted, index_deleted),
    *(replaced_by_a_cassette, replaced_by_something, replaced_by_a_folder, replaced_by_a_recording),
]


@pytest.mark.parametrize("when", ["busy", "quiet", "late"])
@pytest.mark.parametrize("harm", TAKEN_AWAY, ids=lambda harm: harm.__name__)
def test_nothing_is_lost_when_the_name_leads_elsewhere(
    tmp_path: Path, harm: Callable[[Path], None], when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The streams in flight go on too; what somebody else has put there stays as it is; all of it is said."""
    path = tmp_path / "folder" / "chat.cassette"
    path.parent.mkdir()
    run = asyncio.run(recorded(path, harm, quiet=when == "quiet", late=when == "late"))
    kept = [*FIRST, FLYING, *([] if when == "late" else LATER)]
    assert run.found(path) - prompts(chats(3, first=500)) == prompts(kept)
    assert (run.writer.loss, run.writer.trouble, run.writer.dropped["lost with its file"]) == (None, None, 0)
    assert run.writer.recorded == len(kept) - (when == "late")
    assert "nothing is lost, recording goes on onto" in caplog.text
    if harm is replaced_by_something:
        assert path.read_text() == "mine"
    if harm is replaced_by_a_cassette:
        assert prompts(read(path)) == prompts(chats(3, first=500))
    if harm is replaced_by_a_recording:
        assert OTHERS[-1].execute("SELECT x FROM theirs").fetchall() == [(1,)]
        with closing(sqlite3.connect(path)) as another:
            assert another.execute("SELECT x FROM theirs").fetchall() == [(1,)]
        OTHERS.pop().close()
    if path.parent.exists():
        assert [name.name for name in path.parent.iterdir() if ".part" in name.name or ".lock" in name.name] == []


def truncated(path: Path) -> None:
    """`: > chat.cassette`."""
    os.truncate(path, 0)


def half(path: Path) -> None:
    """A disk quota, a sync program."""
    os.truncate(path, path.stat().st_size // 8192 * 4096)


def overwritten(path: Path) -> None:
    """`cp other.cassette chat.cassette`: the same file, with another content."""
    other = record(path.with_name("other"), chats(60, first=500))
    path.write_bytes(other.read_bytes())


def overwritten_in_the_middle(path: Path) -> None:
    """The size stays."""
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = os.urandom(len(content) // 2 - 4096)
    with path.open("r+b") as file:
        file.write(content)


@pytest.mark.parametrize("harm", [truncated, half, overwritten, overwritten_in_the_middle], ids=lambda h: h.__name__)
def test_what_is_lost_is_counted_and_said(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A file that was cut off is left as it is; what was recorded onto it does not count; the rest is beside it."""
    path = tmp_path / "chat.cassette"
    run = asyncio.run(recorded(path, harm, quiet=True))
    there = run.found(path) & prompts([*FIRST, *LATER, FLYING])
    assert prompts(LATER) <= there
    lost = run.writer.dropped["lost with its file"]
    if prompts(FIRST) <= there:  # all of it stood in the log, or in memory
        assert run.writer.loss is None
        return
    assert (lost, run.writer.recorded) == (len(FIRST), len(LATER))
    assert f"{lost} recorded exchanges are lost" in str(run.writer.loss)
    assert str(run.writer.loss) in caplog.text
    assert run.moved == [tmp_path / "chat-2.cassette"]
    with CassetteReader(run.moved[0]) as cassette:
        assert cassette.all("SELECT reason, sum(exchanges) FROM dropped WHERE reason LIKE 'lost%' GROUP BY 1") == [
            ("lost with its file", len(FIRST))
        ]


def test_what_cannot_be_put_back_is_tried_again_and_counted_at_the_end(tmp_path: Path) -> None:
    """The folder is a file now: recording is degraded until it is over, and then all of it is lost."""
    path = tmp_path / "folder" / "chat.cassette"
    path.parent.mkdir()

    def harm(path: Path) -> None:
        shutil.rmtree(path.parent)
        path.parent.write_text("in the way")

    run = asyncio.run(asyncio.wait_for(recorded(path, harm), 60))
    assert run.writer.recorded == 0
    assert run.degraded
    assert "in the way" in path.parent.read_text()


def test_another_program_may_use_the_cassette_as_a_database(tmp_path: Path) -> None:
    """A table of the user's own, written through SQLite while it is recorded, is no harm."""

    def harm(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    path = tmp_path / "chat.cassette"
    run = asyncio.run(recorded(path, harm, quiet=False))
    assert (run.moved, run.degraded, run.writer.recorded) == ([], False, 41)


def test_a_guard_says_what_it_found(tmp_path: Path) -> None:
    """As the end of a sentence, with the name."""
    path = tmp_path / "a.cassette"
    path.write_bytes(b"x" * 100)
    guard = FileGuard(path)
    assert guard.find() is None
    path.write_bytes(b"x" * 99)
    assert str(guard.find()).endswith("a.cassette has been cut off: it had 100 bytes and has 99")
    path.unlink()
    assert str(guard.find()).endswith("a.cassette is not there any more")
    path.write_bytes(b"y" * 100)
    assert guard.find() is None or "replaced" in str(guard.find())  # a file system may use a number again
    assert beside(path) == tmp_path / "a-2.cassette"
    (tmp_path / "a-2.cassette-wal").touch()
    assert beside(path) == tmp_path / "a-3.cassette"
