"""A small file that unpacks to gigabytes is refused with a sentence, before it does."""

from __future__ import annotations

import asyncio
import importlib
import io
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgpack
import pytest
import zstandard

from replayproxy.cassette import budget as module
from replayproxy.cassette import bundles
from replayproxy.cassette.budget import AT_ONCE, Budget
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.coding.codec import Codec, squeezed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.errors import CassetteError, Damaged
from tests.recordings import MATCHER, asked, chats, exchange, keep, pieces, read, record, said, samples, streamed

BOMBS: dict[str, Callable[[], list[object]]] = {
    "a long body": lambda: [[], 0, [200_000_000], b"x" * 200_000_000],
    "many fields": lambda: [[["", ""]] * 4_000_000, 0, [], b""],
    "fields that are not": lambda: [[0] * 12_000_000, 0, [], b""],
}
"""Stored answers, a few kB each."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, name: str) -> None:
    """In less than 200 MB, by `verify` and by whoever reads it."""
    path = record(tmp_path / "a.cassette", chats(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE answer SET answer = ?", (b"\0" + squeezed(msgpack.packb(BOMBS[name]())),))
        connection.execute("UPDATE exchange SET response_size = 200000000")
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    try:
        with CassetteReader(path) as cassette, pytest.raises(Damaged, match=r"unpack|header fields"):
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
        budget.spend(1, b"one", 1_000_000)
        budget.spend(1, b"x" * 10_000, 1_000_000)
    for number in range(10):
        budget.spend(number, b"two", 1_000_000)
    with pytest.raises(Damaged, match=r"a\.cassette unpacks to more than a recording of its size does"):
        budget.spend(10, b"two", 1_000_000)
    with pytest.raises(Damaged, match="bytes that unpack to"):
        Budget("a.cassette", 10**9).spend(1, b"x", AT_ONCE + 1)


def test_what_repeats_itself_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says one word a thousand times, forty times; an answer of megabytes of one letter."""
    for name in ("IN_ALL", "STEPS"):  # what two hundred times would have
        monkeypatch.setattr(module, name, getattr(module, name) // 5)
    stream = said(streamed([" word"] * 1000))
    items = [exchange(asked(f"chat {number}"), stream, number) for number in range(40)]
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


MILLIONS = 4_000_000


def stored_answer(*parts: object) -> bytes:
    """An answer that has no codes."""
    return b"\0" + squeezed(msgpack.packb(parts))


def nested(depth: int) -> bytes:
    """A list in a list in a list."""
    return b"\x91" * depth + b"\xc0"


SLOW_ANSWERS: dict[str, Callable[[], bytes]] = {
    "chunks": lambda: stored_answer([], 1, [0, 0, MILLIONS], b"\0" * (MILLIONS - 1)),
    "cuts": lambda: stored_answer([], 0, [0] * MILLIONS, b""),
    "lists for cuts": lambda: stored_answer([], 0, [[]] * MILLIONS, b""),
    "lists for content": lambda: stored_answer([], 0, [], [[]] * MILLIONS),
    "lists for a field": lambda: stored_answer([[[]] * MILLIONS], 0, [], b""),
    "lists for a coding": lambda: stored_answer([], [[]] * MILLIONS, [], b""),
    "lists and no end": lambda: b"\0" + squeezed(b"\x94\x90\x00" + msgpack.packb([[]] * MILLIONS)),
    "deep lists": lambda: b"\0" + squeezed(b"\x94" + nested(MILLIONS) + b"\x00\x90\xc4\x00"),
    "deep cuts": lambda: b"\0" + squeezed(b"\x94\x90\x00" + nested(MILLIONS) + b"\xc4\x00"),
    "events": lambda: stored_answer([], 0, [10 * MILLIONS], b"data: {}\n\n" * MILLIONS),
}
"""A few hundred bytes each, that would take seconds; made when a test needs one, for that takes half a second."""

SLOW_REQUESTS: dict[str, Callable[[], bytes]] = {
    "values": lambda: squeezed(msgpack.packb([None, [], b"[" + b"0," * MILLIONS + b"0]"])),
    "lists for a query": lambda: squeezed(msgpack.packb([[[]] * MILLIONS, [], b""])),
    "lists for a body": lambda: squeezed(msgpack.packb([None, [], [[]] * MILLIONS])),
}
"""The same of requests."""

SLOW_SEGMENTS: dict[str, Callable[[], bytes]] = {
    "chunks": lambda: squeezed(msgpack.packb([None, [0] * MILLIONS, [0] * MILLIONS, b""])),
    "lists for times": lambda: squeezed(msgpack.packb([None, [], [[]] * MILLIONS, b""])),
    "a long body": lambda: squeezed(msgpack.packb([None, [100_000_000], [0], bytes(100_000_000)])),
}
"""The same of streams in flight."""


@cache
def made(make: Callable[[], bytes]) -> bytes:
    """What one of these makes, made once."""
    return make()


def slow(path: Path, column: str, content: bytes) -> Path:
    """A small cassette whose every row holds this."""
    record(path, chats(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        table = "answer" if column == "answer" else "payload"
        connection.execute(f"UPDATE {table} SET {column} = ?", (content,))  # noqa: S608  two names of our own
        connection.execute("UPDATE exchange SET response_size = 60000000")
    assert path.stat().st_size < 100_000
    return path


def in_flight(path: Path, content: bytes) -> Path:
    """What a recorder has left that died while it wrote this."""
    keeper = CassetteWriter(path.with_suffix(".begun"), MATCHER)
    for item in chats(2):
        keep(keeper, pieces(item, item.recorded_at, [1])[:1])
    with closing(sqlite3.connect(keeper.path)) as begun, closing(sqlite3.connect(path)) as copy:
        begun.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    keeper.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE segment SET heard = ?", (content,))
    return path


def ended(*arguments: str) -> tuple[int, str]:
    """The exit code of a verb, and what it said."""
    program = importlib.import_module("replayproxy.cli.main")
    for command in program.commands():
        program.replayproxy.add_command(command)
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with redirect_stdout(out):
        try:
            code = program.replayproxy.main(args=list(arguments), prog_name="replayproxy", standalone_mode=False)
        except CassetteError as error:
            return error.exit_code, str(error)
    out.seek(0)
    return code or 0, out.read()


def readers_of(path: Path) -> list[list[str]]:
    """The verbs that read payloads."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT lower(hex(substr(digest, 1, 4))) FROM exchange WHERE digest > 0").fetchone()
    show = [["show", str(path), row[0]]] if row else []
    return [*show, ["verify", str(path)], ["verify", "--secrets", str(path)], ["merge", f"{path}.merged", str(path)]]


@pytest.mark.parametrize("name", SLOW_ANSWERS)
def test_a_slow_answer_is_refused_by_all_who_read_it(tmp_path: Path, name: str) -> None:
    """With a sentence and exit code 6, before an object is made for each of the millions."""
    path = slow(tmp_path / "a.cassette", "answer", made(SLOW_ANSWERS[name]))
    refused_by_all(path)


@pytest.mark.parametrize("name", SLOW_REQUESTS)
def test_a_slow_request_is_refused_by_all_who_read_it(tmp_path: Path, name: str) -> None:
    """So is a body that takes seconds to be compared."""
    refused_by_all(slow(tmp_path / "a.cassette", "request", made(SLOW_REQUESTS[name])))


def refused_by_all(path: Path) -> None:
    """Quickly: nothing of it becomes millions of objects."""
    for arguments in readers_of(path):
        tracemalloc.start()
        code, text = ended(*arguments)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (code, peak < 200_000_000) == (6, True), (arguments, code, peak)
        assert "stored" in text or "takes far longer" in text
    with CassetteReader(path) as cassette:
        ((place, *_), *_) = cassette.playable()
        with pytest.raises(Damaged):
            asyncio.run(cassette.read(place))
    for verb in ("ls", "info", "stats"):
        assert ended(verb, str(path))[0] == 0  # they read no payload


@pytest.mark.parametrize("name", SLOW_SEGMENTS)
def test_a_slow_stream_in_flight_is_refused(tmp_path: Path, name: str) -> None:
    """By whoever opens the file: all of them read what a dead recorder has left."""
    path = in_flight(tmp_path / "a.cassette", made(SLOW_SEGMENTS[name]))
    for verb in (["ls"], ["stats"], ["info"], ["verify"], ["verify", "--secrets"], ["replay", "--port", "0"]):
        assert ended(*verb, str(path))[0] == 6


@pytest.mark.parametrize("name", SLOW_SEGMENTS)
def test_who_records_onto_a_slow_file_is_told_at_once(tmp_path: Path, name: str) -> None:
    """The recorder's own reading of what a dead one has left had no budget."""
    path = in_flight(tmp_path / "a.cassette", made(SLOW_SEGMENTS[name]))
    with pytest.raises(Damaged):
        within_bounds(lambda: CassetteWriter(path, MATCHER))
    assert not Path(f"{path}.lock").exists()


def test_who_records_onto_a_file_with_slow_dictionaries_is_told_at_once(tmp_path: Path) -> None:
    """All of them are learned when it is opened."""
    path = record(tmp_path / "a.cassette", chats(3))
    content = squeezed(msgpack.packb([[[]] * 500_000, 0, b""]))
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [(number, "vocabulary", content) for number in range(1000, 1100)]
        connection.executemany("INSERT INTO dictionary VALUES (?, ?, ?)", rows)
    with pytest.raises(Damaged):
        within_bounds(lambda: CassetteWriter(path, MATCHER))


@pytest.mark.parametrize("name", [*SLOW_ANSWERS, *SLOW_REQUESTS])
def test_what_is_recorded_onto_a_slow_file_is_sealed(tmp_path: Path, name: str) -> None:
    """Its old rows cannot be packed again with the new ones, which keeps none of these from the file."""
    column, content = (
        ("answer", made(SLOW_ANSWERS[name])) if name in SLOW_ANSWERS else ("request", made(SLOW_REQUESTS[name]))
    )
    path = slow(tmp_path / "a.cassette", column, content)
    new = chats(30, first=100)

    def go_on() -> None:
        keeper = CassetteWriter(path, MATCHER)
        for tape, item in enumerate(new, 1):
            keep(keeper, pieces(item, tape))
        keeper.seal()

    within_bounds(go_on)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.cassette"]
    with CassetteReader(path) as cassette:
        assert [cassette.exchange(4 + number).response.body for number in range(30)] == [
            item.response.body for item in new
        ]


def test_a_stream_of_this_run_is_read_back_whatever_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that begins to grow is smaller than one of its streams: no budget of the file counts for that."""
    monkeypatch.setattr(module, "STEPS", 10)
    monkeypatch.setattr(module, "IN_ALL", 10)
    monkeypatch.setattr("replayproxy.cassette.writer.REMEMBERED", 10)
    stream = exchange(asked("words"), said(streamed([" word"] * 20_000)))
    keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
    for piece in pieces(stream, 1, range(0, 20_000, 5000)):
        keep(keeper, [piece])
    keeper.seal()
    monkeypatch.undo()
    assert [one.response.body for one in read(tmp_path / "a.cassette")] == [stream.response.body]


def within_bounds(work: Callable[[], object]) -> None:
    """Do this in less than 200 MB of what Python counts."""
    tracemalloc.start()
    try:
        work()
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 200_000_000


def forged(content: bytes, size: int) -> bytes:
    """A frame that says of itself that it unpacks to so many bytes."""
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(content)
    # A descriptor: 8 bytes of size (0xc0), a single segment (0x20); what follows are the blocks (RFC 8878, 3.1.1.1).
    blocks = frame[zstandard.frame_header_size(frame) :]
    return b"\xe0" + size.to_bytes(8, "little") + blocks


LENGTHS = {
    "list": b"\xdd\x7f\xff\xff\xff",
    "bytes": b"\xc6\x7f\xff\xff\xff",
    "text": b"\xdb\x7f\xff\xff\xff",
    "map": b"\xdf\x7f\xff\xff\xff",
    "extension": b"\xc9\x7f\xff\xff\xff\x01",
}


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("name", LENGTHS)
def test_a_forged_length_in_a_segment_is_damage(place: int, name: str) -> None:
    """Two milliards of elements that are announced, and are not there; in each part of it, and in its head."""
    parts = [msgpack.packb(part) for part in ([1, 200, [["a", "b"]]], [1], [2], b"x", [])]
    parts[place] = LENGTHS[name]
    inside = b"\x95" + b"".join(parts)
    budget = Budget("a.cassette", 1000)
    for content in (inside, b"\x95\x93\x01\x02" + LENGTHS[name] + b"\x91\x01\x91\x02\xc4\x01x\x90"):
        with pytest.raises(Damaged):
            within_bounds(lambda content=content: Codec(budget=budget).unpack_segment(squeezed(content)))  # type: ignore[misc]  # bound now


@pytest.mark.parametrize("size", [0, 1, 30, 2**20, 2**32, 2**40, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", ["segment", "request", "answer"])
def test_a_frame_that_lies_about_its_size_is_damage(kind: str, size: int) -> None:
    """Too little, too much, or not known: nothing is allocated for what it says."""
    content = msgpack.packb([None, [1], [2], b"x" * 100] if kind == "segment" else [None, [], b"x" * 100])
    frame = forged(content, size)
    codec = Codec(budget=Budget("a.cassette", 1000))

    def unpack() -> None:
        match kind:
            case "segment":
                codec.unpack_segment(frame)
            case "request":
                codec.unpack_request(frame, "GET", "/")
            case _:
                codec.unpack_answer(b"\0" + frame, 100)

    with pytest.raises(Damaged):
        within_bounds(unpack)


def test_many_rows_are_counted_together_though_they_hold_the_same(tmp_path: Path) -> None:
    """Each takes a tenth of a second, a hundred take ten; of equal rows the same is true."""
    path = record(tmp_path / "a.cassette", chats(100))
    chunks = stored_answer([], 1, [0, 0, 50_000], b"\0" * 49_999)
    with closing(sqlite3.connect(path)) as connection, connection:
        bundles.scatter(connection)
        connection.execute("UPDATE answer SET answer = ?", (chunks,))
    _, problems = verify(path)
    assert sum("takes far longer" in problem.what for problem in problems) > 80
    with CassetteReader(path) as cassette:
        for _ in range(3):  # whoever reads one again and again is told the same of it
            with pytest.raises(Damaged, match="another number of chunks"):
                cassette.response(1)


def test_dictionaries_are_counted(tmp_path: Path) -> None:
    """Each of them takes time to learn."""
    path = record(tmp_path / "a.cassette", chats(3))
    words = squeezed(msgpack.packb([[], 0, b"\0".join(b"%d" % number for number in range(8000))]))
    content = squeezed(msgpack.packb([[[]] * 500_000, 0, b""]))
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [(number, "vocabulary", content) for number in range(1000, 1100)]
        connection.executemany("INSERT INTO dictionary VALUES (?, ?, ?)", rows)
    assert ended("verify", str(path))[0] == 6
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE dictionary SET content = ? WHERE id >= 1000", (words,))
    assert ended("verify", str(path))[0] == 0


def test_an_honest_file_that_repeats_itself_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long streams of one word, at equal distances; requests that share 48 KiB of JSON; a head of many fields."""
    stream = said(streamed([" word"] * 20_000))
    tools = [{"name": f"tool {number}", "kind": "function", "takes": ["a", "b", number]} for number in range(900)]
    fields = tuple((f"x-{number}", "1") for number in range(300))
    items = [exchange(asked(f"words {number}"), stream, number) for number in range(3)]
    items += [exchange(asked(f"tools {n}", tools=tools), said([b"{}"], headers=fields), 100 + n) for n in range(40)]
    path = record(tmp_path / "a.cassette", items)
    monkeypatch.setattr(module, "STEPS", 5_000)  # what many more of them would take, all the same
    assert verify(path) == (len(items), [])
