"""A small file that unpacks to gigabytes is refused with a sentence, before it does."""

from __future__ import annotations

import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from replayproxy.cassette import budget as module
from replayproxy.cassette.budget import AT_ONCE, Budget
from replayproxy.cassette.cassette import Cassette
from replayproxy.cassette.codec import Codec, squeezed
from replayproxy.cassette.verifying import verify
from replayproxy.errors import Damaged
from tests.recordings import asked, chats, exchange, read, record, said, samples, streamed


def bombs() -> dict[str, bytes]:
    """Stored answers, a few kB each."""
    return {
        "a long body": b"\0" + squeezed(msgpack.packb([[], 0, [200_000_000], b"x" * 200_000_000])),
        "many fields": b"\0" + squeezed(msgpack.packb([[["", ""]] * 4_000_000, 0, [], b""])),
        "fields that are not": b"\0" + squeezed(msgpack.packb([[0] * 12_000_000, 0, [], b""])),
    }


@pytest.mark.parametrize("name", ["a long body", "many fields", "fields that are not"])
def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, name: str) -> None:
    """In less than 200 MB, by `verify` and by whoever reads it."""
    path = record(tmp_path / "a.cassette", chats(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE answer SET answer = ?", (bombs()[name],))
        connection.execute("UPDATE exchange SET response_size = 200000000")
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    try:
        with Cassette(path) as cassette, pytest.raises(Damaged, match=r"unpack|header fields"):
            cassette.response(1)
        assert len(verify(path)[1]) >= 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000


def test_a_request_has_no_millions_of_fields() -> None:
    """Behind its query, too."""
    frame = squeezed(msgpack.packb(["q" * 1000, [["", ""]] * 100_000, b""]))
    with pytest.raises(Damaged, match="100000 header fields"):
        Codec().unpack_request(frame, "GET", "/")


def test_many_small_bombs_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them once, however often it is read; what is in proportion never."""
    monkeypatch.setattr(module, "IN_ALL", 10_000_000)
    budget = Budget("a.cassette", 1000)
    for _ in range(100):
        budget.spend(b"one", 1_000_000)
        budget.spend(b"x" * 10_000, 1_000_000)
    for number in range(10):
        budget.spend(b"%d" % number, 1_000_000)
    with pytest.raises(Damaged, match=r"a\.cassette unpacks to more than a recording of its size does"):
        budget.spend(b"more", 1_000_000)
    with pytest.raises(Damaged, match="bytes that unpack to"):
        Budget("a.cassette", 10**9).spend(b"x", AT_ONCE + 1)


def test_what_repeats_itself_is_no_bomb(tmp_path: Path) -> None:
    """A server that says one word a thousand times, two hundred times; an answer of megabytes of one letter."""
    stream = said(streamed([" word"] * 1000))
    items = [exchange(asked(f"chat {number}"), stream, number) for number in range(200)]
    letters = exchange(asked("letters"), said([b"a" * 5_000_000]), 300)
    found = read(record(tmp_path / "a.cassette", [*items, letters]))
    assert [item.response.body for item in found] == [item.response.body for item in [*items, letters]]
    assert replace(found[-1].request) == letters.request


def test_legs_whose_rows_say_no_size_are_read_and_counted(tmp_path: Path) -> None:
    """An honest one is whole; one of a few bytes that unpacks to more than any is not."""
    path = record(tmp_path / "a.cassette", samples())
    assert verify(path) == (len(samples()), [])
    with closing(sqlite3.connect(path)) as connection, connection:
        runs = b"\0" + squeezed(msgpack.packb([[], 1, [0, 0, 1, 1_000_000, 0, 100], b"x" * 1_000_000 + b"\0" * 100]))
        connection.execute("UPDATE leg SET answer = ?", (runs,))
    assert any("longer than" in problem.what for problem in verify(path)[1])
