"""Older formats are read as they are, and become the newest one by a verb; what is not ours stays."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import packing, schema
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.database import Lock
from replayproxy.cassette.editing.migrate import migrate
from replayproxy.cassette.editing.prune import prune
from replayproxy.cassette.editing.redact import redact
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.stored_keys import key_bytes
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.errors import CassetteError, Damaged, Locked, OlderFormat
from replayproxy.model import Ending, Headers, Request
from tests.recordings import MATCHER, chats, keep, pieces, record, samples

GOLDEN = Path(__file__).parents[3] / "cassettes" / "format-1.cassette"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of format 1."""
    path = tmp_path / "old.cassette"
    shutil.copy(GOLDEN, path)
    return path


def execute(path: Path, *statements: str) -> None:
    """Change a file as somebody else would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_every_exchange_is_what_it_was(old: Path) -> None:
    """With its id, its number and its times; an answer whose client had left gets its place; nothing lies beside it."""
    before = old.read_bytes()
    migrated = migrate(old)
    assert (migrated.old, migrated.new, migrated.exchanges) == (1, schema.FORMAT, 36)
    assert verify(old) == (36, [])
    assert [file.name for file in old.parent.iterdir()] == [old.name]
    with CassetteReader(GOLDEN) as one, CassetteReader(old) as other:
        assert other.stored.number == schema.FORMAT
        columns = "number, id, key, recorded_at, model, status, ending, ttft_s, total_s, finish"
        rows = list(one.rows(columns=columns, order="number"))
        assert rows == list(other.rows(columns=columns, order="number"))
        assert [one.exchange(row["number"]) for row in rows] == [other.exchange(row["number"]) for row in rows]
        left = next(other.rows("ending = 'client_left'"))
        assert left["occurrence"] == 0
    assert GOLDEN.read_bytes() == before
    assert migrate(old).old == schema.FORMAT  # nothing to do


def test_format_2_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bundles are made anew, and every exchange is what it was; what was not ours stays."""
    monkeypatch.setattr(packing, "ALWAYS_SMALL", 0)
    path = tmp_path / "second.cassette"
    shutil.copyfile(GOLDEN.with_name("format-2.cassette"), path)
    execute(path, "CREATE TABLE mine (note TEXT)")
    migrated = migrate(path)
    assert (migrated.old, migrated.new, migrated.kept) == (2, 3, (("table", "mine"),))
    assert migrated.after < 0.9 * migrated.before
    with CassetteReader(GOLDEN.with_name("format-2.cassette")) as one, CassetteReader(path) as other:
        assert all(one.exchange(number) == other.exchange(number) for number in range(1, 37))
        assert [len(bundle.numbers) for bundle in other.bundles()] == [36]


def test_equal_requests_are_numbered_by_the_time_of_asking(old: Path) -> None:
    """Format 1 numbered them as they ended."""
    execute(old, "UPDATE exchange SET recorded_at = recorded_at + 10000000000 WHERE id = 1")
    migrate(old)
    with CassetteReader(old) as cassette:
        assert cassette.all("SELECT occurrence FROM exchange WHERE id IN (1, 2, 5) ORDER BY id") == [(2,), (0,), (1,)]


def old_recording(path: Path, target: str, fields: Headers, body: bytes, compared: Request) -> None:
    """Let recording 30, a GET without a body, be one of this request that format 1 gave the key of `compared`."""
    from replayproxy.cassette.coding.codec import Codec
    from replayproxy.cassette.coding.digests import digest

    with CassetteReader(path) as cassette:
        response = cassette.response(30)
        matcher = Matcher(cassette.rules, cassette.redactor)
    request = Request("GET", target, fields, body)
    key = matcher.key(compared)
    assert key != matcher.key(request)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        packed = Codec().pack_request(request)
        connection.execute("UPDATE payload SET request = ? WHERE id = 16 * 30", (packed,))
        changes = (key_bytes(key), digest(key, request, response), len(body))
        connection.execute("UPDATE exchange SET key = ?, digest = ?, request_size = ? WHERE id = 30", changes)


CHAT = b'{"model":"zipped"}'
ZIPPED = gzip.compress(CHAT, mtime=1)
CODED = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
OLD_KEYS: dict[str, tuple[str, Headers, bytes, Request, str]] = {
    "a repeated name": (
        "/v1/models?loc=2&loc=1&loc=2",
        (),
        b"",
        Request("GET", "/v1/models?loc=1&loc=2&loc=2"),
        "the values of a repeated query name were sorted",
    ),
    "two repeated names, and escapes": (
        "/v1/models?b=z&a=%C3%A9&b=%20y&a=1",
        (),
        b"",
        Request("GET", "/v1/models?a=1&a=%C3%A9&b=%20y&b=z"),
        "the values of a repeated query name were sorted",
    ),
    "an empty value": (
        "/v1/models?a=1&a=",
        (),
        b"",
        Request("GET", "/v1/models?a=&a=1"),
        "the values of a repeated query name were sorted",
    ),
    "a coded body": (
        "/v1/models",
        CODED,
        ZIPPED,
        Request("GET", "/v1/models", CODED[:1], ZIPPED),
        "its body was compared in its content coding",
    ),
    "something else": ("/v1/models", (), b"", Request("GET", "/v1/other"), "its request was compared otherwise"),
}


@pytest.mark.parametrize("name", OLD_KEYS)
def test_requests_that_were_compared_otherwise_get_the_key_of_today(old: Path, name: str) -> None:
    """`verify` says why the key is another one and what to do; `migrate` does it, and the request finds its answer."""
    target, fields, body, compared, why = OLD_KEYS[name]
    old_recording(old, target, fields, body, compared)
    _, problems = verify(old)
    (said,) = [problem.what for problem in problems if "its key is" in problem.what]
    assert why in said
    assert f"`replayproxy migrate {old}`" in said
    migrate(old)
    assert verify(old) == (36, [])
    with CassetteReader(old) as cassette:
        (row,) = cassette.rows("number = 30")
        assert (row["occurrence"], row["model"]) == (0, "zipped" if body else None)
        key = Matcher(cassette.rules, cassette.redactor).key(Request("GET", target, fields, body))
        assert (row["key"], cassette.count(key)) == (key, 1)


def test_equal_requests_with_old_and_new_keys_are_numbered_together(old: Path) -> None:
    """By the time of asking, whatever key each had."""
    with CassetteReader(old) as cassette:
        first = cassette.request(1)
        response = cassette.response(1)
        (asked,) = cassette.one("SELECT recorded_at FROM exchange WHERE id = 1")
    from replayproxy.cassette.coding.digests import digest

    other = "rp1:" + "ab" * 16
    changes = (key_bytes(other), digest(other, first, response))
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("UPDATE exchange SET occurrence = occurrence + 10 WHERE occurrence > 0")
        connection.execute("UPDATE exchange SET key = ?, digest = ? WHERE id = 1", changes)
    migrate(old)
    assert verify(old) == (36, [])
    with CassetteReader(old) as cassette:
        assert cassette.all("SELECT occurrence FROM exchange WHERE id IN (1, 2, 5) ORDER BY id") == [(0,), (1,), (2,)]
        assert cassette.one("SELECT min(recorded_at) FROM exchange WHERE key = ?", changes[0]) == (None,)
        assert asked


def test_another_file_may_be_written(old: Path) -> None:
    """And the old one stays as it is, byte for byte; one that is there is not overwritten."""
    before = old.read_bytes()
    new = old.with_name("new.cassette")
    migrate(old, new)
    assert (old.read_bytes(), verify(new)) == (before, (36, []))
    with pytest.raises(CassetteError, match="is there already"):
        migrate(old, new)


REFUSED: dict[str, Callable[[Path], object]] = {
    "recording on it": lambda path: CassetteWriter(path, MATCHER),
    "pruning it": lambda path: prune(path, [1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_older_format_is_only_read(old: Path, what: str) -> None:
    """The sentence names the verb, and the file stays as it is."""
    before = old.read_bytes()
    with pytest.raises(OlderFormat, match=f"run `replayproxy migrate {old}`"):
        REFUSED[what](old)
    assert old.read_bytes() == before


def test_secrets_are_taken_out_of_an_older_format_too(old: Path) -> None:
    """What is written anew has the newest format."""
    assert redact(old).exchanges == 36
    with CassetteReader(old) as cassette:
        assert cassette.stored.number == schema.FORMAT


def test_one_that_is_being_recorded_or_damaged_is_left_alone(old: Path) -> None:
    """The old file stays as it is."""
    lock = Lock(old)
    with pytest.raises(Locked):
        migrate(old)
    lock.release()
    execute(old, "UPDATE answer SET answer = x'00' WHERE id = 16")
    before = old.read_bytes()
    with pytest.raises(CassetteError, match="does not hold"):
        migrate(old)
    assert old.read_bytes() == before


def test_what_a_killed_recorder_of_format_1_left(old: Path) -> None:
    """Its open row has an id and reads as cut by the crash, before and after the migration."""
    execute(
        old,
        "INSERT INTO exchange (id, key, recorded_at, endpoint, stream, state, status, request_size, response_size,"
        " chunks) SELECT 99, key, recorded_at, endpoint, 1, 0, 200, request_size, 0, 0 FROM exchange WHERE id = 1",
        "INSERT INTO payload SELECT 16 * 99, request, x'' FROM payload WHERE id = 16",
        "PRAGMA journal_mode = WAL",
    )
    from replayproxy.cassette.coding.codec import Codec
    from replayproxy.model import Chunks, Head

    segment = Codec().pack_segment(Head(10_000, 200, ()), Chunks(b"ab", (1, 1), (20_000, 30_000)))
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("INSERT INTO segment VALUES (99, 0, ?)", (segment,))
    with CassetteReader(old) as cassette:
        (row,) = cassette.rows("number = 99")
        assert (len(row["id"]), row["ending"], row["chunks"]) == (8, "proxy_crashed", 2)
        response = cassette.response(99)
        assert (response.body, response.ending) == (b"ab", Ending.PROXY_CRASHED)
    migrate(old)
    assert verify(old) == (37, [])
    with CassetteReader(old) as cassette:
        assert cassette.response(99) == response


FOREIGN = (
    "CREATE TABLE notes (exchange INTEGER REFERENCES exchange (id), text TEXT)",
    "INSERT INTO notes VALUES (2, 'look at this')",
    "CREATE INDEX notes_of ON notes (exchange)",
    "CREATE VIEW chats AS SELECT * FROM v_exchange WHERE path = '/v1/chat/completions'",
    "CREATE INDEX by_status ON exchange (status)",
    "CREATE VIRTUAL TABLE notes_fts USING fts5 (text, content='notes')",
    "ANALYZE",
)


@pytest.mark.parametrize("statement", FOREIGN[:1] + FOREIGN[3:])
def test_what_is_not_ours_and_cannot_run_by_itself_is_left_alone(tmp_path: Path, statement: str) -> None:
    """As sqlite-utils and datasette make it: read, verified, recorded on, and still there."""
    path = record(tmp_path / "a.cassette", samples())
    execute(path, *(FOREIGN[:1] if "fts5" in statement else ()), statement)
    assert verify(path) == (len(samples()), [])
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(chats(1)[0], 1))
    keeper.seal()
    assert verify(path) == (len(samples()) + 1, [])
    with CassetteReader(path) as cassette:
        assert cassette.foreign


def test_what_is_not_ours_goes_along(old: Path) -> None:
    """Tables, views and full-text search; an index on a table that is made anew does not."""
    execute(old, *FOREIGN)
    migrated = migrate(old)
    assert ("index", "by_status") in migrated.left
    assert {("table", "notes"), ("view", "chats"), ("table", "notes_fts")} <= set(migrated.kept)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT path FROM notes JOIN chats ON number = exchange").fetchall() == [
            ("/v1/chat/completions",)
        ]
    assert verify(old) == (36, [])


RUNS = {
    "on our table": "CREATE TRIGGER t AFTER INSERT ON exchange BEGIN DELETE FROM meta; END",
    "on a table of its own": "CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM exchange; END",
    "instead of a view": "CREATE TRIGGER t INSTEAD OF DELETE ON v_exchange BEGIN SELECT 1; END",
}


@pytest.mark.parametrize("trigger", RUNS.values(), ids=RUNS)
def test_a_trigger_is_damage(old: Path, trigger: str) -> None:
    """In either format: it would run by itself."""
    execute(old, FOREIGN[0], trigger)
    with pytest.raises(Damaged, match="has a trigger, 't'"):
        CassetteReader(old)


def test_a_small_cassette_is_small(tmp_path: Path) -> None:
    """A sealed one of one answer takes at most 16 KB, also when it was recorded on again."""
    path = record(tmp_path / "a.cassette", chats(1))
    assert path.stat().st_size <= 16 * 1024
    record(path, [])
    assert path.stat().st_size <= 16 * 1024
    assert verify(path) == (1, [])
