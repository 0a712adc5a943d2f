"""Threads that read one cassette at the same time disturb neither one another nor the loop."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.readers import Reader, Readers
from replayproxy.cassette.store import LOOKING, CassetteStore
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.sketch import sketch
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange, RecordingRef, Response
from tests import fuzz
from tests.recordings import CHAT, MATCHER, asked, chats, exchange, record, said, streamed

T = TypeVar("T")

AT_ONCE = 16
HALF_A_MEGABYTE = 2_200
"""Events."""


@pytest.fixture(scope="module")
def long_ones() -> list[Exchange]:
    """Answers of half a megabyte, no two of them alike."""
    chance = random.Random(7)
    kept = []
    for number in range(AT_ONCE):
        chunks = streamed((f" {chance.randrange(10**6)}" for _ in range(HALF_A_MEGABYTE)), number)
        kept.append(exchange(asked(f"long {number}"), said(chunks), number))
    assert all(len(item.response.body) > 400_000 for item in kept)
    return kept


@pytest.fixture(scope="module")
def long_cassette(tmp_path_factory: pytest.TempPathFactory, long_ones: list[Exchange]) -> Path:
    """They, and enough short ones that there are dictionaries."""
    return record(tmp_path_factory.mktemp("long") / "a.cassette", [*long_ones, *chats(40, 100)])


def place(item: Exchange) -> RecordingRef:
    """Where its answer stands."""
    return RecordingRef(MATCHER.key(item.request), 0)


# Everybody at once


@pytest.mark.parametrize("in_turn", [False, True])
def test_long_answers_that_are_requested_at_once_are_all_right(
    long_cassette: Path, long_ones: list[Exchange], in_turn: bool
) -> None:
    """Sixteen of half a megabyte, again and again, while others search: each gets its own bytes."""
    short = chats(40, 100)
    wanted = sketch(MATCHER.compared(asked("chat 1000")))

    async def story() -> None:
        for _ in range(fuzz.cases(2)):
            library = CassetteStore(in_turn=in_turn).open([long_cassette])  # nothing is remembered of the round before
            items = [*long_ones, *short]
            searches = [library.aside(library.near, "POST", CHAT, wanted, 4) for _ in range(8)]
            reading = asyncio.gather(*(library.read(place(item)) for item in items))
            near, found = await asyncio.gather(*searches), await reading
            assert found == [as_read(item.response) for item in items]
            assert len({tuple(one.id for one in neighbours) for neighbours in near}) == 1
            library.close()

    asyncio.run(story())


def test_any_threads_may_read_at_once(long_cassette: Path, long_ones: list[Exchange]) -> None:
    """Whoever calls: `response`, `request`, `near`, lists and look-ups, from sixteen threads of somebody else's."""
    wanted = sketch(MATCHER.compared(asked("chat 1000")))
    ready = threading.Barrier(AT_ONCE)

    def read(number: int) -> tuple[Response, list[str], int, int]:
        ready.wait()
        near = [one.id for one in cassette.near("POST", CHAT, wanted, 4)]
        response = cassette.response(number)
        assert cassette.request(number) == long_ones[number - 1].request
        return response, near, len(list(cassette.playable())), cassette.count(place(long_ones[0]).key)

    with CassetteReader(long_cassette) as cassette, ThreadPoolExecutor(AT_ONCE) as threads:
        read_now = list(threads.map(read, range(1, AT_ONCE + 1)))
    assert [response for response, *_ in read_now] == [as_read(item.response) for item in long_ones]
    assert {(tuple(near), listed, count) for _, near, listed, count in read_now} == {
        (tuple(read_now[0][1]), AT_ONCE + 40, 1)
    }


def in_thread(function: Callable[[], T]) -> T:
    """Call it in a new thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


@pytest.mark.parametrize("rules", [MatchRules(ignore=("$.seed",)), None])
def test_places_of_our_own_are_seen_by_every_thread(tmp_path: Path, rules: MatchRules | None) -> None:
    """Keys that were derived again, and broken recordings: what one connection has numbered all of them know."""
    first = exchange(asked("one", seed=1), said([b"x"]))
    second = exchange(asked("one", seed=2), said([b"y" * 300_000]), 1)
    cut = replace(second, response=replace(second.response, ending=second.response.ending.UPSTREAM_CUT))
    path = record(tmp_path / "a.cassette", [first, second] if rules else [first, replace(cut, request=first.request)])
    with CassetteReader(path, allow_incomplete=rules is None, spares=1) as cassette:
        matcher = Matcher(rules, MATCHER.redactor) if rules else MATCHER
        key = matcher.key(first.request)
        before = in_thread(lambda: cassette.count(key))  # a connection that was there before
        if rules:
            cassette.use_rules(matcher)
        assert (before, in_thread(lambda: cassette.count(key))) == (0 if rules else 2, 2)
        assert in_thread(lambda: [place.occurrence for _, place, _ in cassette.places()]) == [0, 1]
        assert len(asyncio.run(cassette.read(RecordingRef(key, 1))).body) == 300_000  # in a thread, for it is long


# One a thread


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small cassette."""
    return record(tmp_path / "a.cassette", chats(3))


@pytest.fixture
def readers(path: Path) -> Iterator[Readers]:
    """Those of it, one of them in advance."""
    opened = Readers(path, lambda reader, number: None, spares=1)
    yield opened
    opened.close()


def test_each_thread_has_a_connection_of_its_own(readers: Readers) -> None:
    """The same one again and again; and one that has ended leaves its own to the next."""
    go_on = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(lambda: (readers.mine(), readers.mine(), go_on.wait(20))) for _ in range(2)]
        while not all(future.running() for future in both) or len(readers) < 3:
            pass
        go_on.set()
        mine, theirs = readers.mine(), [future.result()[:2] for future in both]
    assert all(first is second for first, second in theirs)
    assert len({mine, theirs[0][0], theirs[1][0]}) == len(readers) == 3
    assert in_thread(readers.mine) in (theirs[0][0], theirs[1][0])
    assert len(readers) == 3


def test_a_file_that_took_the_name_is_not_read(path: Path, readers: Readers) -> None:
    """Who has the old file open reads on in it, and what was opened in advance too; nobody reads half of either."""
    record(path.with_name("b"), chats(1)).replace(path)

    def count() -> int:
        return int((readers.mine().first("SELECT count(*) FROM exchange") or (0,))[0])

    go_on = threading.Event()
    with ThreadPoolExecutor(2) as threads:
        spare = threads.submit(lambda: (count(), go_on.wait(20)))
        while len(readers._spares):
            pass
        with pytest.raises(CassetteError, match="has been replaced since it was opened"):
            threads.submit(count).result()
        go_on.set()
        assert (count(), spare.result()[0]) == (3, 3)


def test_a_proxy_reads_on_in_a_file_that_was_replaced(long_cassette: Path, tmp_path: Path) -> None:
    """Also long answers, searches and lists, which have threads of their own."""
    path = tmp_path / "a.cassette"
    path.write_bytes(long_cassette.read_bytes())
    with CassetteReader(path) as cassette:
        (row,) = cassette.all("SELECT key FROM exchange WHERE id = 1")

    async def story() -> None:
        library = CassetteStore().open([path])
        record(tmp_path / "other", chats(1)).replace(path)
        response = await library.read(RecordingRef(f"rp1:{row[0].hex()}", 0))
        listed = await asyncio.gather(*(library.aside(lambda: list(library.playable())) for _ in range(2 * LOOKING)))
        assert len(response.body) > 400_000
        assert {len(one) for one in listed} == {AT_ONCE + 40}
        library.close()

    asyncio.run(story())


def test_closing_interrupts_who_reads(path: Path) -> None:
    """A list that would take for ever ends with a sentence, and nothing is read from a connection that is closed."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    cassette = CassetteReader(path)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(cassette.all, endless)
        while len(cassette._readers) < 2:
            pass
        cassette.close()
        with pytest.raises(CassetteError, match=r"interrupted|has been closed"):
            reading.result()
    with pytest.raises(CassetteError, match="has been closed"):
        cassette.count("rp1:00")
    with pytest.raises(CassetteError, match="has been closed"):
        in_thread(lambda: cassette.count("rp1:00"))
    cassette.close()


def test_closing_on_the_way_to_the_shared_table(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite calls an interrupted ATTACH a database that cannot be opened: who closed it is told so, others are not."""

    def attach(reader: Reader, uri: str) -> None:
        raise sqlite3.OperationalError(f"unable to open database: {uri}")

    monkeypatch.setattr(Reader, "attach", attach)
    share(readers, 1)
    with pytest.raises(CassetteError, match="unable to open database"):
        readers.mine()
    readers.close()
    with pytest.raises(CassetteError, match="has been closed: open it again"):
        readers.mine()


def test_a_shared_table_is_replaced_on_the_way_to_it(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on to the new one."""
    share(readers, 1)
    attach = Reader.attach

    def late(reader: Reader, uri: str) -> None:
        monkeypatch.setattr(Reader, "attach", attach)
        share(readers, 2)
        attach(reader, uri)

    monkeypatch.setattr(Reader, "attach", late)
    assert readers.mine().first("SELECT count(*) FROM places.place") == (2,)


def share(readers: Readers, rows: int) -> None:
    """A table with so many rows."""
    numbers = [(number,) for number in range(rows)]
    readers.share("CREATE TABLE place(id INTEGER)", "INSERT INTO place VALUES (?)", numbers)


def test_a_reader_can_be_closed_from_elsewhere_and_a_list_ends(path: Path) -> None:
    """A generator that was begun does not go on in a file that is closed."""
    cassette = CassetteReader(path)
    listing = cassette.rows("1 = 1", limit=-1)
    assert next(listing)["id"]
    cassette.close()
    with pytest.raises(CassetteError, match="has been closed"):
        list(listing)


def test_a_shared_table_replaces_the_one_before(readers: Readers) -> None:
    """For who has seen it, and for who comes later; what cannot be made leaves the one before."""
    create, insert = "CREATE TABLE place (id INTEGER UNIQUE)", "INSERT INTO place VALUES (?)"
    readers.share(create, insert, [(1,)])
    assert readers.mine().first("SELECT id FROM places.place") == (1,)
    with pytest.raises(sqlite3.IntegrityError):
        readers.share(create, insert, [(2,), (2,)])
    assert readers.mine().first("SELECT id FROM places.place") == (1,)
    readers.share(create, insert, [(3,)])
    assert readers.mine().first("SELECT id FROM places.place") == (3,)
    assert in_thread(lambda: readers.mine().first("SELECT id FROM places.place")) == (3,)
    assert isinstance(readers.mine(), Reader)
