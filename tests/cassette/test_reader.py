"""One cassette or several as a shelf: what stands where, by which rules, and what is no cassette at all."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from replayproxy.cassette import reader as module
from replayproxy.cassette import schema
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.sketch import sketch
from replayproxy.errors import CassetteError, Damaged, NewerFormat, NotACassette
from replayproxy.model import Ending, Exchange, Key, RecordingRef, Request, Response
from replayproxy.ports import ExchangePart, Neighbour, RecordingStore
from tests.doubles.fakes import turns
from tests.recordings import (
    MATCHER,
    as_stored,
    asked,
    chats,
    exchange,
    keep,
    pieces,
    record,
    said,
    samples,
    stored,
    story,
    streamed,
)

SEA, SUN = asked("sea"), asked("sun")


def bodies(shelf: RecordingStore, request: Request | Key) -> list[bytes]:
    """All recordings of a request, in their order."""
    key = request if isinstance(request, str) else MATCHER.key(request)

    async def read_all() -> list[bytes]:
        return [(await shelf.read(RecordingRef(key, number))).body for number in range(shelf.count(key))]

    return asyncio.run(read_all())


def of(path: Path, *answers: tuple[Request, bytes] | tuple[Request, bytes, Ending]) -> Path:
    """A cassette with these."""
    return record(
        path,
        [
            exchange(request, said([body], ending=ending[0] if ending else Ending.COMPLETE), number)
            for number, (request, body, *ending) in enumerate(answers)
        ],
    )


# Shelf


def test_what_stands_on_a_shelf(tmp_path: Path) -> None:
    """By key, in order; what had broken is counted apart and not given out; what is not there is not there."""
    path = of(tmp_path / "a", (SEA, b"1"), (SUN, b"2"), (SEA, b"half", Ending.UPSTREAM_CUT), (SEA, b"3"))
    with CassetteReader(path) as shelf:
        assert (shelf.count(MATCHER.key(SEA)), shelf.count_broken(MATCHER.key(SEA))) == (2, 1)
        assert (shelf.count(MATCHER.key(asked("x"))), shelf.count_broken(MATCHER.key(asked("x")))) == (0, 0)
        assert (bodies(shelf, SEA), bodies(shelf, SUN)) == ([b"1", b"3"], [b"2"])
        with pytest.raises(Damaged, match="has no recording 2 of rp1:"):
            asyncio.run(shelf.read(RecordingRef(MATCHER.key(SEA), 2)))


def test_an_answer_is_read_once_and_remembered(tmp_path: Path) -> None:
    """The same value again, as long as there is room; a huge one only for as long as somebody has it."""
    long = exchange(asked("long"), said([b"x" * (module.LONG + 1)]))
    huge = exchange(asked("huge"), said([b"y" * (module.REMEMBERED // 4 + 1)]))
    with CassetteReader(record(tmp_path / "a", [samples()[0], long, huge])) as shelf:

        async def twice(request: Request) -> tuple[Response, Response]:
            place = RecordingRef(MATCHER.key(request), 0)
            return await shelf.read(place), await shelf.read(place)

        for item, kept in ((samples()[0], True), (long, True), (huge, False)):
            first, again = asyncio.run(twice(item.request))
            assert first == as_read(item.response)
            assert first is again
            assert (RecordingRef(MATCHER.key(item.request), 0) in shelf._remembered) is kept


@pytest.mark.parametrize("size", [module.LONG + 1, module.REMEMBERED // 4 + 1], ids=["long", "huge"])
def test_a_long_answer_that_many_are_sent_is_held_once(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked once for all who want it at the same time, also where the first of them leaves; then given back."""
    long = exchange(asked("long"), said([b"x" * size]))
    unpacked: list[int] = []
    read = CassetteReader._whole_pair

    def counting(cassette: CassetteReader, number: int) -> tuple[Request, Response]:
        unpacked.append(number)
        return read(cassette, number)

    monkeypatch.setattr(CassetteReader, "_whole_pair", counting)
    with CassetteReader(record(tmp_path / "a", [samples()[0], long])) as shelf:
        place = RecordingRef(MATCHER.key(long.request), 0)

        async def many() -> tuple[int, weakref.ref[Response]]:
            reading = [asyncio.create_task(shelf.read(place)) for _ in range(20)]
            await asyncio.sleep(0)
            reading[0].cancel()
            read = await asyncio.gather(*reading[1:])
            read.append(await shelf.read(place))
            return len({id(each) for each in read}), weakref.ref(read[0])

        held, answer = asyncio.run(many())
        assert (held, len(unpacked)) == (1, 1)
        shelf._remembered.clear()
        gc.collect()
        assert answer() is None


def test_a_damaged_long_answer_is_said_to_all_who_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is tried again by who comes later."""
    long = exchange(asked("long"), said([b"x" * (module.LONG + 1)]))
    tried: list[int] = []

    def damaged(_cassette: CassetteReader, number: int) -> tuple[Request, Response]:
        tried.append(number)
        raise Damaged("it is damaged")

    monkeypatch.setattr(CassetteReader, "_whole_pair", damaged)
    with CassetteReader(record(tmp_path / "a", [long])) as shelf:
        place = RecordingRef(MATCHER.key(long.request), 0)

        async def many() -> list[Response | BaseException]:
            return await asyncio.gather(*(shelf.read(place) for _ in range(3)), return_exceptions=True)

        assert [str(error) for error in asyncio.run(many())] == ["it is damaged"] * 3
        assert len(tried) == 1
        asyncio.run(many())
        assert len(tried) == 2


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked for longest ago goes first."""
    monkeypatch.setattr(module, "REMEMBERED", 10_000)
    path = of(tmp_path / "a", *((asked(str(number)), b"%04d" % number * 300) for number in range(9)))
    with CassetteReader(path) as shelf:
        places = [RecordingRef(MATCHER.key(asked(str(number))), 0) for number in range(9)]

        async def walk() -> None:
            for place in [*places, places[5], places[0]]:
                await shelf.read(place)

        asyncio.run(walk())
        assert list(shelf._remembered) == [places[number] for number in (7, 8, 5, 0)]
        assert shelf._remembered_bytes == sum(2 * len(each.body) for each in shelf._remembered.values()) <= 10_000


def test_a_cassette_that_is_recorded_on_is_counted_anew(tmp_path: Path) -> None:
    """What was counted on a sealed one is remembered; while somebody has it open to record, also before the first."""
    path = of(tmp_path / "a", (SEA, b"1"))
    key = MATCHER.key(SEA)
    with CassetteReader(path) as sealed:
        assert [sealed.count(key), sealed.count(key)] == [1, 1]
    keeper = CassetteWriter(path, MATCHER)
    with CassetteReader(path) as shelf:
        assert shelf.count(key) == 1
        keep(keeper, pieces(exchange(SEA, said([b"2"])), 1))
        assert (shelf.count(key), bodies(shelf, SEA)) == (2, [b"1", b"2"])
    keeper.close()


# Rules


def test_recordings_are_found_by_other_rules_than_their_own(tmp_path: Path) -> None:
    """Keys are derived again, in memory: lists that were two become one, in the order of recording; the file stays."""
    requests = [asked("sea", seed=1), asked("sea", seed=2), asked("sea", seed=1), asked("sun", seed=1)]
    path = of(
        tmp_path / "a",
        *((request, b"%d" % number) for number, request in enumerate(requests)),
        (asked("sea", seed=3), b"half", Ending.UPSTREAM_CUT),
    )
    before = path.read_bytes()
    other = Matcher(MatchRules(ignore=("$.seed",)))
    with CassetteReader(path) as shelf:
        assert bodies(shelf, asked("sea", seed=1)) == [b"0", b"2"]
        shelf.use_rules(other)
        key = other.key(asked("sea", seed=99))
        assert (bodies(shelf, key), shelf.count_broken(key)) == ([b"0", b"1", b"2"], 1)
        assert bodies(shelf, other.key(SUN)) == [b"3"]
        assert shelf.count(MATCHER.key(asked("sea", seed=1))) == 0
        shelf.use_rules(MATCHER)
        assert bodies(shelf, asked("sea", seed=1)) == [b"0", b"2"]
        with pytest.raises(CassetteError):
            shelf.all("DELETE FROM exchange")
    assert path.read_bytes() == before


def test_a_cassette_says_by_which_rules_it_was_recorded(tmp_path: Path) -> None:
    """They are its own, whatever the reader's are."""
    rules = MatchRules("exact", ("$.a", "$.b[*].c"))
    with CassetteReader(record(tmp_path / "a", samples(), rules=rules)) as cassette:
        assert cassette.rules == rules
        assert cassette.meta["match"] == {"profile": "exact", "ignore": ["$.a", "$.b[*].c"], "tag": "rp1"}


BROKEN = [
    (SEA, b"1"),
    (SEA, b"half", Ending.UPSTREAM_CUT),
    (SEA, b"2"),
    (SUN, b"gone", Ending.CLIENT_LEFT),
]


@pytest.mark.parametrize("rules", [None, MatchRules(ignore=("$.seed",))])
def test_what_had_broken_is_played_to_who_allows_it(tmp_path: Path, rules: MatchRules | None) -> None:
    """`--allow-incomplete`: in the order of asking, also by other rules; never what has no head."""
    headless = exchange(SUN, said([], status=0, headers=(), ending=Ending.TIMEOUT), 9)
    path = of(tmp_path / "a", *BROKEN)  # type: ignore[arg-type]  # tuples of either kind
    record(path, [headless])
    with CassetteReader(path, allow_incomplete=True) as shelf:
        matcher = MATCHER if rules is None else Matcher(rules)
        if rules is not None:
            shelf.use_rules(matcher)
        sea, sun = matcher.key(SEA), matcher.key(SUN)
        assert (bodies(shelf, sea), bodies(shelf, sun)) == ([b"1", b"half", b"2"], [b"gone"])
        assert (shelf.count_broken(sea), shelf.count_broken(sun)) == (0, 1)
        assert asyncio.run(shelf.read(RecordingRef(sea, 1))).ending is Ending.UPSTREAM_CUT


# Several


def test_several_cassettes_are_one_shelf(tmp_path: Path) -> None:
    """Equal requests walk through the first one's recordings, then the next one's."""
    first = of(tmp_path / "a", (SEA, b"1"), (SEA, b"2"), (SUN, b"half", Ending.UPSTREAM_CUT))
    second = of(tmp_path / "b", (SUN, b"3"), (SUN, b"half", Ending.UPSTREAM_CUT))
    third = of(tmp_path / "c", (SEA, b"4"))
    with CassetteReader(first) as a, CassetteReader(second) as b, CassetteReader(third) as c:
        shelf = CassetteStore([a, b, c])
        assert (bodies(shelf, SEA), bodies(shelf, SUN), bodies(shelf, asked("x"))) == ([b"1", b"2", b"4"], [b"3"], [])
        assert (shelf.count_broken(MATCHER.key(SUN)), shelf.count_broken(MATCHER.key(SEA))) == (2, 0)
        with pytest.raises(Damaged, match="there is no recording 3 of rp1:"):
            asyncio.run(shelf.read(RecordingRef(MATCHER.key(SEA), 3)))


@pytest.mark.parametrize("allow_incomplete", [False, True])
def test_a_recording_is_found_by_its_hand_over(tmp_path: Path, allow_incomplete: bool) -> None:
    """Among those of its key, on whichever cassette; a ticket makes no other key, and a broken one is not given."""

    def presenting(ticket: str, content: str = "sea") -> Request:
        return asked(content, kv_transfer_params={"transfer_id": ticket})

    first = of(tmp_path / "a", (presenting("t0"), b"0"), (presenting("t1"), b"1"), (presenting("s"), b"s"))
    second = of(
        tmp_path / "b",
        *((presenting("t2"), b"2"), (presenting("t3"), b"half", Ending.UPSTREAM_CUT), (presenting("t0", "x"), b"x")),
    )
    key = MATCHER.key(presenting("any"))
    with (
        CassetteReader(first, allow_incomplete=allow_incomplete) as a,
        CassetteReader(second, allow_incomplete=allow_incomplete) as b,
    ):
        shelf = CassetteStore([a, b])
        wanted = ("t0", "t1", "t2", "t3", "none")
        found = [shelf.with_transfer(key, ticket) for ticket in wanted]
        assert found == [0, 1, 3, 4 if allow_incomplete else None, None]


# Many exchanges


@pytest.mark.parametrize("damage", ["", "UPDATE answer SET answer = x'00'", "DELETE FROM payload"])
def test_warming_up_unpacks_a_few_answers_and_judges_none(tmp_path: Path, damage: str) -> None:
    """Damage is for whoever asks for what is damaged."""
    path = record(tmp_path / "a.cassette", chats(module.WARMING + 9))
    if damage:
        execute(damage)(path)
    unpacked: list[int] = []

    class Counting(CassetteReader):
        def _whole(self, number: int) -> tuple[Request, Response]:
            unpacked.append(number)
            return super()._whole(number)

    with Counting(path) as cassette:
        cassette.warm_up()
    assert len(unpacked) == (1 if damage else module.WARMING)


@pytest.mark.parametrize("in_turn", [False, True])
def test_between_two_readings_the_loop_has_a_turn(tmp_path: Path, in_turn: bool) -> None:
    """Where times count, requests are heard when they come; else as many as can be are read."""
    log: list[str] = []

    class Slow(CassetteReader):
        def _whole(self, number: int) -> tuple[Request, Response]:
            log.append("read")
            return super()._whole(number)

    async def tick() -> None:
        while True:
            log.append("turn")
            await asyncio.sleep(0)

    async def story() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(shelf.read(RecordingRef(MATCHER.key(item.request), 0)) for item in kept))
        ticking.cancel()

    kept = chats(5)
    with Slow(record(tmp_path / "a.cassette", kept)) as cassette:
        shelf = CassetteStore([cassette], in_turn=in_turn)
        asyncio.run(story())
    assert log.count("read") == 5
    assert any(pair == ("read", "read") for pair in pairwise(log)) == (not in_turn)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_long_answer_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_turn: bool) -> None:
    """It is unpacked in a thread, and nobody waits for that."""
    long = exchange(asked("long"), said(streamed(story(60, 1))))
    short = exchange(asked("short"), said(streamed(story(2, 2))))
    monkeypatch.setattr(module, "LONG", len(long.response.body) - 1)
    over = threading.Event()

    class Slow(CassetteReader):
        def _whole(self, number: int) -> tuple[Request, Response]:
            if threading.current_thread() is not threading.main_thread():
                assert over.wait(30)
            return super()._whole(number)

    async def story_of_two() -> None:
        reading = asyncio.create_task(shelf.read(RecordingRef(MATCHER.key(long.request), 0)))
        try:
            await turns()
            read = await asyncio.wait_for(shelf.read(RecordingRef(MATCHER.key(short.request), 0)), 10)
            assert read == as_read(short.response)
            assert not reading.done()
        finally:
            over.set()
        assert await reading == as_read(long.response)

    with Slow(record(tmp_path / "a.cassette", [long, short])) as cassette:
        shelf = CassetteStore([cassette], in_turn=in_turn)
        asyncio.run(story_of_two())


def test_exchanges_are_listed_and_found(tmp_path: Path) -> None:
    """Rows for people, by SQL of theirs; numbers by the beginning of a short id; each exchange whole."""
    with CassetteReader(record(tmp_path / "a", samples())) as cassette:
        rows = list(cassette.rows())
        assert [row["number"] for row in rows] == list(range(1, len(samples()) + 1))
        assert rows[1]["scope"] == "a scope"
        assert rows[4]["legs"] == 2
        chosen = cassette.rows("status >= :least AND stream", {"least": 200}, order="number DESC", limit=2)
        assert [row["number"] for row in chosen] == [20, 19]
        for row in rows:
            assert row["number"] in cassette.find(row["id"])
            assert cassette.request(row["number"]) == samples()[row["number"] - 1].request
        assert [item for _, item in stored(cassette)] == [as_stored(item) for item in samples()]
        with pytest.raises(CassetteError, match="has no such recording"):
            cassette.exchange(99)


def test_the_columns_for_people(tmp_path: Path) -> None:
    """What `ls`, `stats` and SQL want, spelled for people."""
    with CassetteReader(record(tmp_path / "a", samples()[:4])) as cassette:
        row = dict(next(cassette.rows()))
        answer = as_stored(samples()[0]).response
        assert row.pop("key") == MATCHER.key(samples()[0].request)
        assert len(row.pop("id")) == 8
        assert row.pop("tpot_s") == pytest.approx((answer.timeline.end - answer.timeline.chunks[1]) / 1e9 / 19)
        assert row == {
            "number": 1,
            "client_left": 0,
            "request_cut": 0,
            "opaque": 0,
            "starved_s": 0.0,
            "occurrence": 0,
            "recorded_at": "2025-10-09T08:53:20.000Z",
            "method": "POST",
            "path": "/v1/chat/completions",
            "model": "tiny",
            "stream": 1,
            "status": 200,
            "state": "done",
            "ending": "complete",
            "scope": "",
            "chunks": 24,
            "stalled": 0,
            "legs": 0,
            "request_size": len(samples()[0].request.body),
            "response_size": len(answer.body),
            "ttft_s": answer.timeline.chunks[1] // 1000 / 1e6,
            "total_s": answer.timeline.end // 1000 / 1e6,
            "prompt_tokens": 7,
            "completion_tokens": 20,
            "cached_tokens": None,
            "finish": "stop",
            "transfer": None,
        }
        answers = {row["number"]: (row["finish"], row["cached_tokens"], row["ttft_s"]) for row in cassette.rows()}
        assert answers[3] == ("length", 2, None)
        assert [row["ending"] for row in cassette.rows("ending <> 'complete'")] == ["upstream_cut"]


def test_opening_reads_nothing_that_was_not_asked_for(tmp_path: Path) -> None:
    """It costs the same for few and for many: the number of SQLite's steps does not grow with the exchanges."""
    few, many = samples()[:1], samples() * 15

    def steps(path: Path) -> int:
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        with CassetteReader(path) as cassette:
            cassette._readers.mine()._connection.set_progress_handler(count, 1)
            schema.check(cassette._readers.mine()._connection, str(path))
            cassette.count(MATCHER.key(SEA))
            assert isinstance(cassette.rules, MatchRules)
            return counted

    assert steps(record(tmp_path / "many", many)) == steps(record(tmp_path / "few", few))


# What is no cassette


def execute(sql: str, *values: object) -> Callable[[Path], None]:
    """Somebody with SQLite at hand."""

    def change(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in sql.split(";"):
            connection.execute(statement, values if "?" in statement else ())
        connection.close()

    return change


def rewritten(old: str, new: str) -> Callable[[Path], None]:
    """Somebody who edits the schema's text."""
    update = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?)"
    return execute(f"PRAGMA writable_schema = ON; {update}; PRAGMA writable_schema = RESET; VACUUM", old, new)


def replaced(content: bytes) -> Callable[[Path], object]:
    """Another file in its place."""
    return lambda path: path.write_bytes(content)


def shortened(by: int) -> Callable[[Path], object]:
    """A file whose end is missing; to 60 bytes where `by` is 0."""
    return lambda path: os.truncate(path, path.stat().st_size - by if by else 60)


def foreign(path: Path) -> None:
    """Somebody else's database."""
    path.unlink()
    execute("CREATE TABLE exchange (id INTEGER PRIMARY KEY)")(path)


def folder(path: Path) -> None:
    """No file at all."""
    path.unlink()
    path.mkdir()


IN_BYTES = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = CAST(sql AS BLOB) WHERE name = 'leg'"
TRIGGER = "CREATE TRIGGER extra AFTER INSERT ON exchange BEGIN DELETE FROM payload"

REFUSED: dict[str, tuple[Callable[[Path], object], type[CassetteError], str]] = {
    "nothing": (Path.unlink, NotACassette, "does not exist: record one with `replayproxy record"),
    "a folder": (folder, NotACassette, "is a folder: name a cassette"),
    "a text": (replaced(b"long enough to be one" * 99), NotACassette, "is not a cassette: give a file written by"),
    "a short text": (replaced(b"hello"), NotACassette, "is not a cassette"),
    "an empty file": (replaced(b""), NotACassette, "is empty: nothing was recorded on it"),
    "a foreign database": (foreign, NotACassette, "is an SQLite file but not a cassette"),
    "another application": (execute("PRAGMA application_id = 0"), NotACassette, "SQLite file but not a cassette"),
    "a newer format": (
        execute(f"PRAGMA user_version = {schema.FORMAT + 1}"),
        NewerFormat,
        "has cassette format 3, this replayproxy reads up to 2: update replayproxy",
    ),
    "format 0": (execute("PRAGMA user_version = 0"), Damaged, "says it has cassette format 0"),
    "some pages missing": (shortened(10_000), Damaged, "Restore it from a copy"),
    "a byte missing": (shortened(1), Damaged, "Restore it from a copy"),
    "half a header": (shortened(0), CassetteError, "cassette"),
    "a table spelled in bytes": (lambda path: scripted(path, IN_BYTES), Damaged, "its tables are others"),
    "a trigger": (lambda path: scripted(path, f"{TRIGGER}; END"), Damaged, "has a trigger, '.*', which would run by"),
    "an index that forbids": (execute("CREATE UNIQUE INDEX extra ON exchange (scope)"), Damaged, "an index, 'extra'"),
    "an index that computes": (execute("CREATE INDEX extra ON meta (length(value))"), Damaged, "computes something"),
    "an index with a condition": (execute("CREATE INDEX extra ON leg (role) WHERE leg > 1"), Damaged, "an index"),
    "no view": (execute("DROP VIEW v_exchange"), Damaged, "its tables are others"),
    "no index": (execute("DROP INDEX exchange_place"), Damaged, "its tables are others"),
    "another view": (execute("DROP VIEW v_exchange; CREATE VIEW v_exchange AS SELECT 1"), Damaged, "tables are others"),
    "a check less": (rewritten("CHECK (length(key) = 16)", ""), Damaged, "its tables are others"),
    "a column more": (rewritten("digest            BLOB", "more BLOB, digest BLOB"), Damaged, "its tables are others"),
}


def scripted(path: Path, sql: str) -> None:
    """A statement with statements in it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(sql)
    connection.close()


@pytest.mark.parametrize(("change", "kind", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_and_why(
    tmp_path: Path, change: Callable[[Path], object], kind: type[CassetteError], words: str
) -> None:
    """A sentence with the name of the file and a way out; nothing appears beside it."""
    path = record(tmp_path / "a.cassette", samples())
    change(path)
    with pytest.raises(kind, match=words) as caught:
        CassetteReader(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == (6 if kind is Damaged else 2)
    assert [file.name for file in tmp_path.iterdir()] in ([], ["a.cassette"])


def test_comments_and_spaces_in_the_schema_may_be_improved(tmp_path: Path) -> None:
    """They are for people: a file written before or after such a change is of the same format."""
    path = record(tmp_path / "a.cassette", samples())
    rewritten("-- from 0, by recorded_at, among playable answers; NULL: not playable", "-- said better" + chr(10))(path)
    rewritten("NOT NULL,", "NOT   NULL, -- never" + chr(10))(path)
    with CassetteReader(path) as cassette:
        assert "said better" in str(cassette.all("SELECT sql FROM sqlite_schema"))
        assert [item for _, item in stored(cassette)] == [as_stored(item) for item in samples()]


def test_a_cassette_with_an_odd_name(tmp_path: Path) -> None:
    """SQLite takes names for URIs; ours are names."""
    folder = tmp_path / "a b?c=d&mode=rwc#%41"
    folder.mkdir()
    path = record(folder / "e?mode=memory", samples())
    with CassetteReader(path) as cassette:
        assert cassette.count(MATCHER.key(samples()[0].request)) == 3
    assert [file.name for file in folder.iterdir()] == ["e?mode=memory"]


def test_nothing_can_be_written_through_a_reader(tmp_path: Path) -> None:
    """Not by SQL from the keyboard either, also when it has tables of its own in memory."""
    path = record(tmp_path / "a.cassette", samples())
    for allow in (False, True):
        with CassetteReader(path, allow_incomplete=allow) as cassette:
            for sql in ("DELETE FROM exchange", "PRAGMA user_version = 7", "DROP VIEW v_exchange", "VACUUM"):
                with pytest.raises(CassetteError):
                    cassette.all(sql)
    shutil.copy(path, tmp_path / "b.cassette")
    with CassetteReader(tmp_path / "b.cassette") as copied:
        assert [item for _, item in stored(copied)] == [as_stored(item) for item in samples()]


RULELESS = [
    "[]",
    '{"profile":"default"}',
    '{"profile":"fuzzy","ignore":[],"tag":"rp1"}',
    '{"profile":"default","ignore":[1],"tag":"rp1"}',
    '{"profile":"default","ignore":[],"tag":"rp2"}',
    "no json",
]


@pytest.mark.parametrize("value", RULELESS)
def test_rules_that_do_not_exist_are_damage(tmp_path: Path, value: str) -> None:
    """Keys made by them mean nothing to us."""
    path = record(tmp_path / "a.cassette", samples())
    execute("UPDATE meta SET value = ? WHERE name = 'match'", value)(path)
    with CassetteReader(path) as cassette, pytest.raises(Damaged, match=r"rules|cannot be read"):
        cassette.rules  # noqa: B018  it is asked for, and refused


INSTEAD = [
    (
        "UPDATE answer SET answer = (SELECT answer FROM answer WHERE exchange = 5) WHERE exchange = 1",
        "an answer of another",
    ),
    ("UPDATE exchange SET digest = x'0000000000000000' WHERE id = 1", "a digest that does not hold"),
    ("UPDATE exchange SET ending = 1, occurrence = NULL WHERE id = 1; UPDATE exchange SET status = 500", "a row"),
    ("DELETE FROM payload WHERE exchange = 1", "no payload"),
    ("DELETE FROM answer WHERE exchange = 1", "no answer"),
    ("UPDATE exchange SET key = zeroblob(16) WHERE id = 1", "another key"),
]


@pytest.mark.parametrize(("sql", "what"), INSTEAD)
def test_never_somebody_elses_answer(tmp_path: Path, sql: str, what: str) -> None:
    """A place gives the answer that was recorded there, or an error, or nothing."""
    path = record(tmp_path / "a.cassette", samples())
    execute(f"PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; {sql}")(path)
    first = as_read(samples()[0].response)
    sea = MATCHER.key(samples()[0].request)
    others = [as_read(item.response) for item in samples() if MATCHER.key(item.request) == sea]
    with CassetteReader(path) as shelf:
        for number in range(shelf.count(sea)):
            try:
                found = asyncio.run(shelf.read(RecordingRef(sea, number)))
            except CassetteError:
                continue
            assert found in others
            assert found != first


def test_an_index_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    """The row at the end of a look-up must be the one that was looked up: its key and number are compared."""
    path = record(tmp_path / "a.cassette", samples())
    sun = MATCHER.key(samples()[2].request)
    with CassetteReader(path) as cassette:
        page = cassette.one(
            "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size WHERE name = 'exchange_place'"
        )[0]
    content = bytearray(path.read_bytes())
    entry = bytes.fromhex(sun.partition(":")[2]) + b"\x03"  # the key, occurrence 0 (no byte of its own), exchange 3
    content[content.index(entry, page) + 16] = 5
    path.write_bytes(content)
    with CassetteReader(path) as shelf, pytest.raises(Damaged, match="takes recording 5 for another one"):
        asyncio.run(shelf.read(RecordingRef(sun, 0)))


def test_a_long_body_is_what_was_recorded(tmp_path: Path) -> None:
    """Longer than what is unpacked in the loop's own thread, streamed, with thousands of chunks."""
    item = exchange(asked("long"), said(streamed(story(5000, 3), 3)))
    with CassetteReader(record(tmp_path / "a.cassette", [item])) as shelf:
        assert len(item.response.body) > module.LONG
        assert asyncio.run(shelf.read(RecordingRef(MATCHER.key(item.request), 0))) == as_read(item.response)
        assert next(shelf.rows())["chunks"] == len(item.response.cuts)


def test_two_streams_unpack_in_threads_at_once(tmp_path: Path) -> None:
    """The codec is one a thread, so they take turns."""
    items = [replace(exchange(asked(str(n)), said([b"%d" % n * 300_000])), scope=str(n)) for n in range(8)]
    with CassetteReader(record(tmp_path / "a.cassette", items)) as shelf:

        async def all_at_once() -> list[Response]:
            return await asyncio.gather(*(shelf.read(RecordingRef(MATCHER.key(item.request), 0)) for item in items))

        assert asyncio.run(all_at_once()) == [as_read(item.response) for item in items]


# What is near

TALES = {
    name: f"Tell me how {name} came to the sea, who built the mill, and what today is like." for name in "abcdefgh"
}


def ids(found: list[Neighbour]) -> list[str]:
    """What was asked, by its last word."""
    return [json.loads(one.request.body)["messages"][-1]["content"] for one in found]


def test_the_nearest_stand_first(tmp_path: Path) -> None:
    """Of this endpoint, with what people want to know of them; equal requests once; broken ones never."""
    answer, broken = said([b"x"]), replace(said([b"x"]), ending=Ending.UPSTREAM_CUT)
    path = record(
        tmp_path / "a",
        [
            exchange(asked("something else"), answer),
            exchange(asked(TALES["a"]), answer),
            exchange(asked(TALES["a"]), answer),
            exchange(asked(TALES["b"], path="/v1/elsewhere"), answer),
            exchange(asked(TALES["c"]), broken),
        ],
    )
    wanted = sketch(MATCHER.compared(asked(TALES["d"])))
    with CassetteReader(path) as cassette:
        found = cassette.near("POST", "/v1/chat/completions", wanted, 8)
        assert ids(found) == [TALES["a"], "something else"]
        assert (found[0].cassette, found[0].status) == (str(path), 200)
        assert 2 in cassette.find(found[0].id)
        assert cassette.near("POST", "/v1/chat/completions", wanted, 1) == found[:1]
        assert cassette.near("GET", "/v1/chat/completions", wanted, 8) == []
        assert cassette.count_of_endpoint("POST", "/v1/chat/completions") == (3, 2)
        assert CassetteStore([cassette, cassette]).near("POST", "/v1/chat/completions", wanted, 8) == found * 2
        assert CassetteStore([cassette, cassette]).count_of_endpoint("POST", "/v1/elsewhere") == (6, 2)


def test_what_is_recorded_meanwhile_is_near_too(tmp_path: Path) -> None:
    """A reader beside a recorder."""
    path, wanted = tmp_path / "a", sketch(MATCHER.compared(asked(TALES["d"])))
    keeper = CassetteWriter(path, MATCHER)
    with CassetteReader(path) as cassette:
        for name in "ab":
            keep(keeper, pieces(exchange(asked(TALES[name]), said([b"x"])), ord(name)))
            found = cassette.near("POST", "/v1/chat/completions", wanted, 8)
            assert TALES[name] in ids(found)
    keeper.seal()


# While somebody records


def test_a_place_keeps_its_meaning_while_it_is_recorded_on(tmp_path: Path) -> None:
    """Who asked first may end last, and moves the others up in the file: a reader at work gives nothing twice for it,
    and one that comes later finds the order of asking."""
    path = tmp_path / "a.cassette"
    first, second, third = (exchange(SEA, said([b"%d" % n]), n) for n in range(3))
    keeper = CassetteWriter(path, MATCHER)

    def end(item: Exchange, tape: int) -> None:
        keeper.begin()
        keeper.keep(ExchangePart.of(tape, item))
        keeper.commit()

    end(second, 2)
    with CassetteReader(path) as shelf:
        assert bodies(shelf, SEA) == [b"1"]
        end(first, 1)
        assert bodies(shelf, SEA) == [b"1", b"0"]
        end(third, 3)
        assert bodies(shelf, SEA) == [b"1", b"0", b"2"]
        assert [place.occurrence for place, *_ in shelf.playable()] == [0, 1, 2]
    with CassetteReader(path) as later:
        assert bodies(later, SEA) == [b"0", b"1", b"2"]
    keeper.seal()
    assert verify(path) == (3, [])
