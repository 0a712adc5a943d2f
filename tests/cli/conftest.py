"""What the tests of the reading verbs are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from replayproxy.cassette.database import Lock
from replayproxy.model import Ending, Request
from tests.cli.tapes import Read, Watch, answer, asked, chat, in_flight, pair, reader, watcher, writing


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """Runs a verb in this process."""
    return reader(capsys)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Runs a verb in this process as if on a terminal."""
    return watcher(monkeypatch)


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Path]:
    """One exchange of every sort, a second apart, as a recorder at work leaves them."""
    path = tmp_path / "mixed.cassette"
    with writing(path, sealed=False) as keep:
        keep(
            chat("hello", started=0, temperature=0, seed=7),
            chat("cut", ending=Ending.CLIENT_LEFT, started=1000),
            chat("nothing", words=[], ending=Ending.UPSTREAM_CUT, started=2000),
            chat("bundled", words=["a b c d "] * 5, usage=(7903, 512), model="qwen", started=3000),
            answer(asked("bad"), b'{"error":{"message":"no"}}', status=400, started=4000),
            answer(Request("GET", "/v1/models"), b'{"data":[]}', started=5000),
            pair(chat("pair", words=["word "] * 20, usage=(1842, 21), started=6000)),
            in_flight(chat("still", started=7000)),
        )
    lock = Lock(path)
    yield path
    lock.release()


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A cassette on which nothing was recorded."""
    path = tmp_path / "empty.cassette"
    with writing(path):
        pass
    return path
