"""Exchanges go onto a cassette and come back the same, whatever pieces they come in and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.cassette import writer as module
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.file_guard import FileLost
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import TRAINED_AFTER, CassetteWriter
from replayproxy.core.answers import fault_in_answer
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.sketch import sketch
from replayproxy.errors import CassetteError, Damaged, Locked, NotACassette, SettingsError
from replayproxy.model import Ending, Exchange, RecordingRef, Request, Response, Timeline
from replayproxy.ports import ExchangePart
from tests import fuzz
from tests.recordings import (
    CHAT,
    EPOCH,
    JSON,
    MATCHER,
    SSE,
    as_stored,
    asked,
    chats,
    exchange,
    keep,
    pieces,
    read,
    record,
    said,
    samples,
    stored,
    story,
    streamed,
    unwritable,
)


@contextmanager
def folder() -> Iterator[Path]:
    """One that is gone afterwards; in memory where there is such a place, because hypothesis asks often."""
    memory = Path("/dev/shm")  # noqa: S108  a fresh folder in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def all_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What SQLite says, to anybody."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# Any exchange


@st.composite
def responses(draw: st.DrawFn, *, endings: Sequence[Ending] = tuple(Ending)) -> Response:
    """Any status, field lines, bytes, cuts and beat."""
    kinds = st.binary(max_size=30) | st.sampled_from([b"", b"\0", b"data: [DONE]\n\n", b"x" * 5000])
    tokens = st.sampled_from(streamed(["a", " b", "\n", "ü"], done=False))
    chunks = draw(st.lists(kinds | tokens, max_size=12))
    gaps = draw(st.lists(st.integers(0, 3 * 10**9), min_size=len(chunks) + 2, max_size=len(chunks) + 2))
    at = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    letters = st.characters(max_codepoint=255, exclude_characters="\r\n\0")  # the codec refuses them
    lines = st.tuples(st.text(letters, min_size=1, max_size=9), st.text(letters, max_size=9))
    return Response(
        status=draw(st.sampled_from([200, 204, 404, 500])),
        headers=draw(st.sampled_from([SSE, JSON]) | st.lists(lines, max_size=3).map(tuple)),
        body=b"".join(chunks),
        cuts=tuple(map(len, chunks)),
        timeline=Timeline(at[0], tuple(at[1:-1]), at[-1]),
        ending=draw(st.sampled_from(endings)),
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Some of which are equal."""
    target = draw(st.sampled_from([CHAT, "/v1/models?a=1&b", "/\xe9"]))
    body = draw(
        st.sampled_from([b"", b'{"model":"tiny","stream":true}', b'{"user":"u"}', b"{}"]) | st.binary(max_size=9)
    )
    return Request(draw(st.sampled_from(["GET", "POST"])), target, (("Accept", "*/*"),), body)


# The same comes back


def test_an_exchange_of_every_kind_comes_back(tmp_path: Path) -> None:
    """Request, status, fields, bytes, cuts, legs, scope and ending exactly; times in ticks of 10 us; in order."""
    path = record(tmp_path / "a.cassette", samples())
    assert read(path) == [as_stored(item) for item in samples()]
    assert verify(path) == (len(samples()), [])


KEPT = st.lists(st.tuples(requests(), responses(), st.lists(st.integers(0, 12), max_size=4)), min_size=1, max_size=5)


@settings(max_examples=fuzz.cases(30))
@given(KEPT, st.randoms(use_true_random=False))
def test_whatever_the_pieces_the_answer_comes_back(
    kept: list[tuple[Request, Response, list[int]]], chance: random.Random
) -> None:
    """In any pieces, those of several streams in any order, in any batches; and the cassette is clean."""
    exchanges = [
        Exchange(request, response, EPOCH + number, scope=str(number))
        for number, (request, response, _) in enumerate(kept)
    ]
    waiting = [pieces(item, tape, kept[tape][2], key=chance.random() < 0.5) for tape, item in enumerate(exchanges)]
    # Closed also where hypothesis ends an example in its midst, when it has drawn enough.
    with folder() as here, closing(CassetteWriter(here / "a.cassette", MATCHER)) as keeper:
        while waiting:
            batch: list[ExchangePart] = []
            for _ in range(chance.randrange(1, 4)):
                if waiting:
                    stream = chance.choice(waiting)
                    batch.append(stream.pop(0))
                    if not stream:
                        waiting.remove(stream)
            keep(keeper, batch)
        keeper.seal()
        found = {item.scope: item for item in read(here / "a.cassette")}
        assert found == {item.scope: as_stored(item) for item in exchanges}
        count, problems = verify(here / "a.cassette")
        # What may not be sent to a client comes back all the same, and is named.
        refused = [item for item in exchanges if fault_in_answer(item.request.method, item.response) is not None]
        assert (count, len(problems)) == (len(exchanges), len(refused))


def test_times_that_run_backwards_are_straightened_and_not_lost(tmp_path: Path) -> None:
    """A body that came with its head, an answer that began before its request was complete: in one piece or in many."""
    path = tmp_path / "a.cassette"
    odd = said([b"a", b"b", b"c"])
    odd = replace(odd, timeline=replace(odd.timeline, head=50_000, chunks=(-5, 20_000, 90_000), end=60_000))
    keeper = CassetteWriter(path, MATCHER)
    for tape, cuts in enumerate([[], [1], [1, 2, 3]]):
        for piece in pieces(exchange(asked("odd"), odd), tape, cuts):
            keep(keeper, [piece])
    keeper.seal()
    times = [item.response.timeline for item in read(path)]
    assert [(each.head, each.chunks, each.end) for each in times] == [(50_000, (50_000, 50_000, 90_000), 90_000)] * 3
    assert verify(path) == (3, [])


# Places

KEYS = [
    asked("a"),
    asked("b"),
    replace(asked("a"), body=b'{"messages":[{"role":"user","content":"a"}],"model":"tiny"}'),
]


@given(st.lists(st.tuples(st.sampled_from(range(3)), st.sampled_from(Ending), st.integers(0, 9)), max_size=12))
def test_occurrences_are_dense_and_in_the_order_of_asking(kept: list[tuple[int, Ending, int]]) -> None:
    """However they end: playable answers to equal requests are numbered from 0 by when they were asked, and those that
    were asked at one time by their rows; a broken one has no number and takes none."""
    with folder() as here:
        path = here / "a.cassette"
        items = [exchange(KEYS[key], said([b"x"], ending=ending), asked_at) for key, ending, asked_at in kept]
        record(path, items)
        seen = Counter[str]()
        expected: list[tuple[str, int | None]] = [("", None)] * len(kept)
        for number in sorted(range(len(kept)), key=lambda number: (kept[number][2], number)):
            name = MATCHER.key(KEYS[kept[number][0]])
            whole = kept[number][1] in (Ending.COMPLETE, Ending.CLIENT_LEFT)
            expected[number] = name, seen[name] if whole else None
            seen[name] += whole
        with CassetteReader(path) as cassette:
            assert cassette.all("SELECT key, occurrence FROM v_exchange ORDER BY number") == expected
            assert {name: cassette.count(name) for name in seen} == seen
            assert cassette.one("SELECT count(*) FROM exchange WHERE sketch IS NOT NULL")[0] == len(+seen)
        assert verify(path) == (len(kept), [])


def test_equal_requests_share_a_key_also_where_the_archive_derives_it(tmp_path: Path) -> None:
    """With a key from the story or without one, the list is the same."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    for tape, (request, key) in enumerate(zip(KEYS[::2] * 2, [True, False, False, True], strict=True)):
        keep(keeper, pieces(exchange(request, said([b"x"])), tape, key=key))
    keeper.seal()
    with CassetteReader(path) as cassette:
        assert cassette.count(MATCHER.key(KEYS[0])) == 4


# Streams in flight


def test_a_stream_in_flight_is_seen_and_then_folded(tmp_path: Path) -> None:
    """An open row and its segments, which no replay takes for an answer; at its end one payload and no segments."""
    path = tmp_path / "a.cassette"
    first, *others = pieces(exchange(asked("sea"), said(streamed(story(9, 1)))), 7, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, [first])
    with CassetteReader(path) as reader:
        seen = [reader.one("SELECT state, occurrence, (SELECT count(*) FROM segment) FROM exchange")]
        assert reader.count(MATCHER.key(asked("sea"))) == reader.count_broken(MATCHER.key(asked("sea"))) == 0
        assert next(reader.rows())["state"] == "open"
        keep(keeper, others[:1])
        seen.append(reader.one("SELECT state, occurrence, (SELECT count(*) FROM segment) FROM exchange"))
        keep(keeper, others[1:])
        seen.append(reader.one("SELECT state, occurrence, (SELECT count(*) FROM segment) FROM exchange"))
        assert seen == [(0, None, 1), (0, None, 2), (1, 0, 0)]
    keeper.seal()
    assert read(path) == [as_stored(exchange(asked("sea"), said(streamed(story(9, 1)))))]


@pytest.mark.parametrize("again", [False, True])
def test_the_request_of_a_stream_in_flight_is_written_once(tmp_path: Path, again: bool) -> None:
    """Where it stands already it is left; an upload that was completed after its answer had begun is written again."""
    path = tmp_path / "a.cassette"
    whole = exchange(asked("sea"), said(streamed(story(9, 1))))
    first, *others = pieces(whole, 7, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, [replace(first, request=replace(whole.request, body=b'{"mess'))] if again else [first])
    written: list[str] = []
    keeper._connection.set_trace_callback(written.append)
    keep(keeper, others)
    keeper._connection.set_trace_callback(None)
    assert any("INTO payload" in statement for statement in written) == again
    keeper.seal()
    assert read(path) == [as_stored(whole)]
    assert all_of(path, "SELECT sketch FROM exchange") == [(sketch(MATCHER.compared(whole.request)),)]
    assert verify(path) == (1, [])


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_dropped_tape_leaves_nothing(tmp_path: Path, written: int) -> None:
    """However much of it was written; the others stay."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(chats(1)[0], 1))
    keep(keeper, pieces(exchange(asked("sea"), said(streamed(story(9, 1)))), 2, [3, 6])[:written])
    keeper.begin()
    keeper.drop(2)
    keeper.note_dropped("queue full", 1, EPOCH)
    keeper.commit()
    keeper.seal()
    assert read(path) == [as_stored(chats(1)[0])]
    assert all_of(path, "SELECT count(*) FROM exchange UNION ALL SELECT count(*) FROM payload") == [(1,), (1,)]
    assert all_of(path, "SELECT count(*) FROM segment") == [(0,)]
    assert all_of(path, "SELECT * FROM dropped") == [(EPOCH, "queue full", 1)]


def test_what_was_rolled_back_can_be_written_again(tmp_path: Path) -> None:
    """A batch that failed leaves nothing: not on disk, and not in what the keeper remembers of streams and names."""
    path = tmp_path / "a.cassette"
    item = exchange(asked("sea"), said(streamed(story(9, 1))))
    parts = pieces(item, 1, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    for batch in ([parts[0]], [parts[1]], [parts[2]]):
        for _ in range(2):
            keeper.begin()
            for piece in batch:
                keeper.keep(piece)
            keeper.rollback()
        keep(keeper, batch)
    keeper.seal()
    assert read(path) == [as_stored(item)]
    assert verify(path) == (1, [])


def test_a_batch_that_cannot_begin_forgets_nothing(tmp_path: Path) -> None:
    """Another process holds the file: a stream in flight goes on afterwards, where it was."""
    path = tmp_path / "a.cassette"
    item = exchange(asked("sea"), said(streamed(story(9, 1))))
    parts = pieces(item, 1, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, parts[:1])
    keeper._connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        keeper.begin()
    keeper.rollback()
    other.close()
    keep(keeper, parts[1:])
    keeper.seal()
    assert read(path) == [as_stored(item)]


def test_a_stream_in_flight_survives_opening_again(tmp_path: Path) -> None:
    """After an I/O error the file is opened anew; a stream goes on where it was committed, with no hole in it."""
    path = tmp_path / "a.cassette"
    item = exchange(asked("sea"), said(streamed(story(9, 1))))
    parts = pieces(item, 1, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    for part in parts:
        keeper.begin()
        keeper.keep(part)
        keeper.rollback()
        keeper.reopen()
        keep(keeper, [part])
    keeper.seal()
    assert read(path) == [as_stored(item)]


@pytest.mark.parametrize("room", [0, 3000, 10**9])
def test_what_is_remembered_of_streams_in_flight_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Beyond that a stream is read back from its segments: the same answer; and memory is given back exactly."""
    monkeypatch.setattr(module, "REMEMBERED", room)
    path = tmp_path / "a.cassette"
    kept = chats(20)
    keeper = CassetteWriter(path, MATCHER)
    flying: list[list[ExchangePart]] = []
    for tape, item in enumerate(kept):
        flying.append(pieces(item, tape, [3, 6, 9]))
        for parts in flying:
            keep(keeper, [parts.pop(0)])
            assert keeper._received_bytes <= room
        flying = [parts for parts in flying if parts]
        if tape % 7 == 6:
            keeper.begin()
            keeper.drop(99)
            keeper.rollback()
    for parts in flying:
        keep(keeper, parts)
    assert (keeper._in_flight, keeper._received_bytes) == ({}, 0)
    keeper.seal()
    assert sorted(read(path), key=lambda item: item.recorded_at) == [as_stored(item) for item in kept]
    assert verify(path) == (20, [])


def test_a_stream_whose_file_was_taken_away_does_not_go_on_with_a_hole(tmp_path: Path) -> None:
    """The new file has its own rows: the stream's pieces are refused, not added to somebody else's answer."""
    path = tmp_path / "a.cassette"
    item = exchange(asked("sea"), said(streamed(story(9, 1))))
    parts = pieces(item, 1, [3, 6])
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, parts[:1])
    for file in tmp_path.glob("a.cassette*"):
        if file.suffix != ".lock":
            file.unlink()
    with pytest.raises(FileLost):  # as long as it is open everything is there, and can be put back
        keeper.reopen()
    keeper.begin_again()
    keep(keeper, pieces(chats(1)[0], 2, [1]))
    for piece in parts[1:]:
        keeper.begin()
        with pytest.raises(sqlite3.IntegrityError):
            keeper.keep(piece)
        keeper.rollback()
    keeper.seal()
    assert read(keeper.path) == [as_stored(chats(1)[0])]
    assert verify(keeper.path) == (1, [])


# After a crash


def crash(keeper: CassetteWriter, path: Path, *, lost: int = 0) -> Path:
    """The files as a crash leaves them, in another place; `lost` bytes of the log have not reached the disk."""
    left = path.with_name("left.cassette")
    shutil.copy(path, left)
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        left.with_name("left.cassette-wal").write_bytes(log.read_bytes()[: log.stat().st_size - lost])
    keeper.close()
    return left


def test_after_a_crash_everything_committed_is_there(tmp_path: Path) -> None:
    """Ended exchanges as they were; streams up to their last piece, marked and not playable; nothing uncommitted."""
    path = tmp_path / "a.cassette"
    done, flying = chats(3), samples()[0]
    keeper = CassetteWriter(path, MATCHER)
    for tape, item in enumerate(done):
        keep(keeper, pieces(item, tape, [1]))
    head_alone = exchange(asked("head"), said([b"first", b"second"]))
    keep(keeper, pieces(flying, 10, [4, 9])[:2])
    keep(keeper, pieces(head_alone, 11, [1])[:1])
    keeper.begin()
    keeper.keep(pieces(flying, 10, [4, 9])[2])
    left = crash(keeper, path)

    again = CassetteWriter(left, MATCHER)
    assert again.crashed == 2
    keep(again, pieces(flying, 10))  # the tapes of a new process have the old numbers
    again.seal()
    found = read(left)
    assert found[:3] == [as_stored(item) for item in done]
    cut, first, last = found[3:]
    assert (cut.response.ending, first.response.ending) == (Ending.PROXY_CRASHED, Ending.PROXY_CRASHED)
    whole = as_stored(flying).response
    assert list(cut.response.chunks()) == list(whole.chunks())[:9]
    assert (cut.response.status, cut.response.headers) == (whole.status, whole.headers)
    assert cut.response.timeline.end == cut.response.timeline.chunks[-1]
    assert (cut.request, cut.recorded_at) == (flying.request, flying.recorded_at)
    assert [chunk.data for chunk in first.response.chunks()] == [b"first"]
    assert last == as_stored(flying)
    with CassetteReader(left) as cassette:
        assert cassette.all("SELECT occurrence FROM exchange ORDER BY id") == [(0,), (0,), (0,), (None,), (None,), (0,)]
    assert verify(left) == (6, [])


def test_a_reader_opens_what_a_crash_left(tmp_path: Path) -> None:
    """Without repairing it: what ended is played; what flew is there as far as it came, marked as cut by the crash."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(chats(1)[0], 1))
    keep(keeper, pieces(samples()[0], 2, [4])[:1])
    left = crash(keeper, path)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("left*") if not file.name.endswith("-shm")}
    whole, cut = read(left)
    assert whole == as_stored(chats(1)[0])
    assert cut.response.ending is Ending.PROXY_CRASHED
    assert list(cut.response.chunks()) == list(as_stored(samples()[0]).response.chunks())[:4]
    assert verify(left) == (2, [])
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_a_log_cut_anywhere_gives_whole_exchanges(tmp_path: Path) -> None:
    """A power cut takes the end of the log: the first so many commits are there, each exactly; `verify` is clean."""
    path = tmp_path / "a.cassette"
    kept = chats(6)
    keeper = CassetteWriter(path, MATCHER)
    for tape, item in enumerate(kept):
        for piece in pieces(item, tape, [3]):
            keep(keeper, [piece])
    size = path.with_name("a.cassette-wal").stat().st_size
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copy(path, copies / "a.cassette")
    shutil.copy(tmp_path / "a.cassette-wal", copies / "a.cassette-wal")
    keeper.close()
    counts = []
    for lost in range(0, size, size // 40):
        there = tmp_path / f"{lost}"
        shutil.copytree(copies, there)
        os.truncate(there / "a.cassette-wal", size - lost)
        with CassetteReader(there / "a.cassette") as cassette:
            assert cassette.rules == MatchRules()
        CassetteWriter(there / "a.cassette", MATCHER).seal()
        found = [item for item in read(there / "a.cassette") if item.response.ending is Ending.COMPLETE]
        assert found == [as_stored(item) for item in kept[: len(found)]]
        assert verify(there / "a.cassette")[1] == []
        counts.append(len(found))
    assert counts[0] == len(kept)
    assert counts == sorted(counts, reverse=True)


def test_a_killed_recorder_locks_nobody_out(tmp_path: Path) -> None:
    """SIGKILL: the lock is given back by the kernel, the next one goes on, and marks what flew."""
    path = tmp_path / "a.cassette"
    script = (
        "import os, signal, sys; from pathlib import Path; from replayproxy.cassette.writer import CassetteWriter;"
        "from tests.recordings import *; keeper = CassetteWriter(Path(sys.argv[1]), MATCHER);"
        "keep(keeper, pieces(samples()[0], 1)); keep(keeper, pieces(samples()[1], 2, [4])[:1]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, path], check=False, cwd=Path(__file__).parents[2])
    assert path.with_name("a.cassette.lock").exists()
    keeper = CassetteWriter(path, MATCHER)
    assert keeper.crashed == 1
    keeper.seal()
    assert [item.response.ending for item in read(path)] == [Ending.COMPLETE, Ending.PROXY_CRASHED]
    assert verify(path) == (2, [])


def test_streams_that_nobody_ended_are_marked_when_it_is_sealed(tmp_path: Path) -> None:
    """A sealed cassette has no open rows, and nothing on it needs a dictionary that is gone."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(samples()[0], 999, [4])[:1])
    for tape, item in enumerate(chats(40)):
        keep(keeper, pieces(item, tape))
    keeper.seal()
    assert all_of(path, "SELECT count(*) FROM exchange WHERE state = 0") == [(0,)]
    assert read(path)[0].response.ending is Ending.PROXY_STOPPED
    assert verify(path) == (41, [])
    CassetteWriter(path, MATCHER).seal()
    assert verify(path) == (41, [])


# Dictionaries


def test_training_packs_again_and_everything_is_still_there(tmp_path: Path) -> None:
    """Once enough has come, while streams fly and a reader reads; at sealing once more, on all of it."""
    path = tmp_path / "a.cassette"
    kept = chats(TRAINED_AFTER + 20)
    flying = exchange(asked("flying"), said(streamed(story(60, 5), 5)))
    keeper = CassetteWriter(path, MATCHER)
    parts = pieces(flying, 9999, [20, 40])
    keep(keeper, parts[:1])
    with CassetteReader(path) as reader:
        for tape, item in enumerate(kept):
            keep(keeper, pieces(item, tape))
            if tape in (0, TRAINED_AFTER - 2):
                assert next(stored(reader))[1] == as_stored(kept[0])
                keeper.train_when_due()
                assert reader.all("SELECT kind FROM dictionary") == []
            if tape == TRAINED_AFTER - 1:
                before = reader.one(
                    "SELECT sum(length(request) + length(answer)) FROM payload JOIN answer USING (exchange)"
                )[0]
                keeper.train_when_due()
                after = reader.one(
                    "SELECT sum(length(request) + length(answer)) FROM payload JOIN answer USING (exchange)"
                )[0]
                assert after < 0.5 * before
                assert reader.all("SELECT id, kind FROM dictionary ORDER BY id") == [
                    (1, "request"),
                    (2, "answer"),
                    (3, "vocabulary"),
                    (4, "gaps"),
                ]
                keep(keeper, parts[1:2])
        keep(keeper, parts[2:])
        keeper.train_when_due()
        assert reader.one("SELECT count(*) FROM dictionary") == (4,)
        found = {item.request.body: item for _, item in stored(reader)}
        assert found == {item.request.body: as_stored(item) for item in [*kept, flying]}
    keeper.seal()
    assert len(read(path)) == len(kept) + 1
    assert verify(path) == (len(kept) + 1, [])

    again = CassetteWriter(path, MATCHER)
    more = chats(5, first=1000)
    for tape, item in enumerate(more):
        keep(again, pieces(item, tape))
    again.seal()
    assert [item for item in read(path) if item.recorded_at >= more[0].recorded_at] == [as_stored(m) for m in more]


class Reluctant(CassetteWriter):
    """A keeper whose disk is full whenever it is to commit what it has trained."""

    full = True

    def commit(self) -> None:
        """Not now."""
        if self.full and self._rows.count("SELECT count(*) FROM dictionary"):
            raise sqlite3.OperationalError("database or disk is full")
        super().commit()


def test_training_that_fails_costs_nothing(tmp_path: Path) -> None:
    """What is written afterwards needs no dictionary that is not on the cassette."""
    path = tmp_path / "a.cassette"
    kept = chats(TRAINED_AFTER + 3)
    keeper = Reluctant(path, MATCHER)
    keep(keeper, [piece for tape, item in enumerate(kept[:TRAINED_AFTER]) for piece in pieces(item, tape)])
    with pytest.raises(sqlite3.OperationalError):
        keeper.train_when_due()
    assert all_of(path, "SELECT count(*) FROM dictionary") == [(0,)]
    keeper.train_when_due()  # tried once
    keep(keeper, [piece for item in kept[TRAINED_AFTER:] for piece in pieces(item, 1)])
    with CassetteReader(path) as reader:
        assert [item for _, item in stored(reader)] == [as_stored(item) for item in kept]
    keeper.full = False
    keeper.seal()
    assert read(path) == [as_stored(item) for item in kept]
    kinds = all_of(path, "SELECT kind FROM dictionary ORDER BY id")
    assert kinds == [("vocabulary",), ("gaps",)]  # all payloads are in bundles: those of zstd are gone


def test_a_few_exchanges_need_no_dictionary(tmp_path: Path) -> None:
    """It would not pay for itself; and where nothing is worth training on, nothing is tried again and again."""
    path = record(tmp_path / "a.cassette", chats(module.TRAINED_AT_SEAL - 1))
    assert all_of(path, "SELECT count(*) FROM dictionary") == [(0,)]


# Sealing


def test_sealing_leaves_one_file_that_opens_anywhere(tmp_path: Path) -> None:
    """No log, no lock, mode 0600, no WAL in its header; also after training, and after a reader."""
    path = record(tmp_path / "a.cassette", chats(60))
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes()[18:20] == b"\1\1"  # legacy journal, both ways (sqlite.org/fileformat2.html §1.3)
    assert read(path) == [as_stored(item) for item in chats(60)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write anywhere; nobody may not."""
    root = os.getuid() == 0
    if root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_a_sealed_cassette_opens_from_a_folder_that_nobody_may_write() -> None:
    """By somebody who may only read; nothing appears beside it."""
    with folder() as here:
        path = record(here / "a.cassette", samples())
        path.chmod(0o444)
        here.chmod(0o555)
        with as_nobody():
            with pytest.raises(PermissionError):
                (here / "new").touch()
            assert len(read(path)) == len(samples())
            assert verify(path) == (len(samples()), [])
        assert [file.name for file in here.iterdir()] == ["a.cassette"]
        here.chmod(0o755)


def test_while_it_is_recorded_nobody_else_may_read_any_of_it(tmp_path: Path) -> None:
    """0600 for the file, its log, its index and its lock, whatever the umask."""
    before = os.umask(0)
    try:
        keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
        keep(keeper, pieces(samples()[0], 1))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    keeper.close()
    names = ["a.cassette", "a.cassette-wal", "a.cassette-shm", "a.cassette.lock"]
    assert modes == dict.fromkeys(names, 0o600)


def test_a_reader_does_not_keep_it_from_being_whole(tmp_path: Path) -> None:
    """Somebody looks while it is sealed: it stays in WAL mode, and is complete all the same."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keeper._connection.execute("PRAGMA busy_timeout = 0")
    keep(keeper, pieces(chats(1)[0], 1))
    with CassetteReader(path) as reader:
        keeper.seal()
        assert [item for _, item in stored(reader)] == [as_stored(chats(1)[0])]
    assert read(path) == [as_stored(chats(1)[0])]


def test_a_cassette_is_recorded_on_again(tmp_path: Path) -> None:
    """Sealed, opened, added to, sealed: equal requests go on counting."""
    path = record(tmp_path / "a.cassette", chats(2))
    record(path, [replace(chats(1)[0], recorded_at=EPOCH + 5)])
    with CassetteReader(path) as cassette:
        assert cassette.all("SELECT occurrence FROM exchange ORDER BY id") == [(0,), (0,), (1,)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]


# One recorder


def test_a_second_recorder_is_refused(tmp_path: Path) -> None:
    """By the number of the first one's process, also through a link; when the first has let go it is welcome."""
    path = tmp_path / "a.cassette"
    link = tmp_path / "link.cassette"
    link.symlink_to(path)
    first = CassetteWriter(path, MATCHER)
    for name in (path, link):
        with pytest.raises(Locked, match=f"is being recorded by process {os.getpid()}: stop that one"):
            CassetteWriter(name, MATCHER)
    keep(first, pieces(chats(1)[0], 1))
    first.close()
    second = CassetteWriter(link, MATCHER)
    keep(second, pieces(chats(1)[0], 1))
    second.seal()
    assert len(read(path)) == 2


RULES: list[tuple[MatchRules, bool]] = [
    (MatchRules("exact", ("$.seed",)), True),
    (MatchRules("exact", ()), False),
    (MatchRules("default", ("$.seed",)), False),
    (MatchRules(), False),
]


@pytest.mark.parametrize(("rules", "welcome"), RULES)
def test_the_rules_of_the_first_recorder_bind(tmp_path: Path, rules: MatchRules, welcome: bool) -> None:
    """Who comes with others is refused by a sentence, and the cassette stays sealed as it was."""
    first = MatchRules("exact", ("$.seed",))
    path = record(tmp_path / "a.cassette", chats(1), rules=first)
    with CassetteReader(path) as cassette:
        assert cassette.rules == first
        assert cassette.meta["creator"].startswith("replayproxy ")
    if welcome:
        record(path, chats(1), rules=rules)
    else:
        with pytest.raises(SettingsError, match=r"was recorded with other match rules .* use those, or record to"):
            CassetteWriter(path, Matcher(rules))
    assert [file.name for file in tmp_path.iterdir()] == ["a.cassette"]
    assert path.read_bytes()[18:20] == b"\1\1"
    assert len(read(path)) == 1 + welcome
    assert verify(path)[1] == []


# What cannot be recorded on


def refuses(path: Path, kind: type[CassetteError], words: str) -> None:
    """A keeper wants no such file, and leaves no lock and no log."""
    before = sorted(file.name for file in path.parent.iterdir())
    with pytest.raises(kind, match=words):
        CassetteWriter(path, MATCHER)
    assert sorted(file.name for file in path.parent.iterdir()) == before


def test_what_is_no_cassette_is_not_written_to(tmp_path: Path) -> None:
    """A text, somebody else's database, a folder that is not there."""
    text = tmp_path / "text"
    text.write_text("This is not a database, but it is long enough to have been one.\n" * 20)
    refuses(text, NotACassette, "is not a cassette: give a file")
    foreign = tmp_path / "foreign"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    content = foreign.read_bytes()
    refuses(foreign, NotACassette, "is an SQLite file but not a cassette")
    assert foreign.read_bytes() == content
    with pytest.raises(CassetteError, match=r"cannot be created: the folder .* does not exist"):
        CassetteWriter(tmp_path / "none" / "a.cassette", MATCHER)


def test_an_empty_file_becomes_a_cassette(tmp_path: Path) -> None:
    """`mktemp` makes such."""
    path = tmp_path / "a.cassette"
    path.touch()
    assert read(record(path, chats(1))) == [as_stored(chats(1)[0])]


DAMAGES = [
    "UPDATE meta SET value = 'no json' WHERE name = 'match'",
    "INSERT INTO dictionary VALUES (7, 'answer', x'00')",
    "UPDATE payload SET request = x'00'",
    "DELETE FROM payload",
    "UPDATE segment SET heard = x'28b52ffd'",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cassette_is_not_recorded_on(tmp_path: Path, damage: str) -> None:
    """What a crash left of a stream cannot be folded, or a dictionary not be read: said in our words, the lock free."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(samples()[0], 1, [4])[:1])
    keeper.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(damage)
    connection.close()
    for _ in range(2):
        with pytest.raises(Damaged):
            CassetteWriter(path, MATCHER)
    assert not path.with_name("a.cassette.lock").exists()


@pytest.mark.parametrize("poison", unwritable(samples()[0]))
def test_a_piece_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path, poison: ExchangePart) -> None:
    """Not an SQLite error of the disk: the writer can tell one from the other."""
    keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
    for piece in (poison, replace(poison, end=None)):
        keeper.begin()
        with suppress(ValueError, OverflowError, sqlite3.OperationalError):
            keeper.keep(piece)
            if piece.end is not None:
                pytest.fail("it could be written")
        keeper.rollback()
    keep(keeper, pieces(chats(1)[0], 2))
    keeper.seal()
    assert read(tmp_path / "a.cassette") == [as_stored(chats(1)[0])]


def test_a_reader_follows_the_recording(tmp_path: Path) -> None:
    """While it is recorded: count and read follow each commit."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    key = MATCHER.key(asked("sea"))
    with CassetteReader(path) as reader:
        counts = [reader.count(key)]
        for number in range(3):
            keep(keeper, pieces(exchange(asked("sea"), said([b"%d" % number])), number))
            counts.append(reader.count(key))
            assert asyncio.run(reader.read(RecordingRef(key, number))).body == b"%d" % number
    keeper.close()
    assert counts == [0, 1, 2, 3]
