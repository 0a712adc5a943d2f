"""How far work has come is told; nothing is told of work that nobody watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.cassette.checking.secrets import scan
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.compact import compact
from replayproxy.cassette.editing.join import join
from replayproxy.cassette.editing.merge import merge
from replayproxy.cassette.editing.migrate import migrate
from replayproxy.cassette.editing.prune import prune
from replayproxy.cassette.editing.redact import redact
from replayproxy.cassette.watched import EVERY, Watch, watched
from tests.recordings import chats, record


def test_items_come_as_they_are() -> None:
    """Every item comes once, and the watcher hears of the first and of each EVERY-th after it."""
    told: list[tuple[str, int, int]] = []
    assert list(watched(range(EVERY * 2 + 1), "things", 129, lambda *call: told.append(call))) == list(range(129))
    assert told == [("things", 0, 129), ("things", EVERY, 129), ("things", 2 * EVERY, 129)]


class Interrupted(Exception):
    """Stands for Ctrl-C."""


class Told:
    """Keeps what it is told, and interrupts at the call of a number."""

    def __init__(self, stop: int | None = None) -> None:
        self.calls: list[str] = []
        self._stop = stop

    def __call__(self, what: str, _done: int, _of: int) -> None:
        """Is a `Watch`."""
        if len(self.calls) == self._stop:
            raise Interrupted
        self.calls.append(what)


def work(name: str, path: Path, out: Path, watch: Watch) -> None:
    """Do one of the things that take long."""
    match name:
        case "verify":
            verify(path, watch=watch)
        case "scan":
            list(scan(path, watch=watch))
        case "merge":
            merge(out, [path], watch)
        case "join":
            join(out, path, path, watch=watch)
        case "redact":
            redact(path, (), out, watch)
        case "prune":
            prune(path, [1], out, watch)
        case "compact":
            compact(path, out, watch)
        case "migrate":
            migrate(path, out, watch)


@pytest.mark.parametrize("name", ["verify", "scan", "merge", "join", "redact", "prune", "compact", "migrate"])
def test_every_long_work_is_watched_and_can_be_interrupted(tmp_path: Path, name: str) -> None:
    """It tells something; stopped there, at each call, it leaves the folder as it was, and the file too."""
    path, out = tmp_path / "a.cassette", tmp_path / "out.cassette"
    record(path, chats(3))
    content = path.read_bytes()
    told = Told()
    work(name, path, out, told)
    out.unlink(missing_ok=True)
    assert told.calls
    for stop in range(len(told.calls)):
        with pytest.raises(Interrupted):
            work(name, path, out, Told(stop))
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.cassette"]
        assert path.read_bytes() == content
