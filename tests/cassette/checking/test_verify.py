"""`verify` derives again everything that a cassette says of itself, and finds every kind of damage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import Problem, verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import MatchRules
from replayproxy.errors import NotACassette
from tests.recordings import MATCHER, asked, exchange, record, said, samples, story, streamed


def changed(path: Path, sql: str) -> Path:
    """Somebody with SQLite at hand, who cares for no check."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.executescript(sql)
    connection.close()
    return path


def found(path: Path) -> list[str]:
    """What `verify` says of it."""
    return [problem.what for problem in verify(path)[1]]


@pytest.mark.parametrize("rules", [None, MatchRules("exact"), MatchRules(ignore=("$.messages[*].name", "$.seed"))])
def test_a_clean_cassette_has_no_problems(tmp_path: Path, rules: MatchRules | None) -> None:
    """Whatever is on it and by whatever rules, with dictionaries or without, and also when there is nothing."""
    chats = [exchange(asked(f"chat {n}"), said(streamed(story(10, n), n)), n) for n in range(30)]
    for name, exchanges in {"none": [], "few": samples(), "trained": [*samples(), *chats]}.items():
        path = record(tmp_path / name, exchanges, rules=rules)
        before = path.read_bytes()
        assert verify(path) == (len(exchanges), [])
        assert path.read_bytes() == before


# One column of exchange 1 (a stream), and what its payload says
COLUMNS: list[tuple[str, str, str]] = [
    ("stream = 0", "stream 0", "1"),
    ("request_size = 1", "request_size 1", "75"),
    ("response_size = 9999999", "response_size 9999999", "4579"),
    ("chunks = 7", "chunks 7", "24"),
    ("ttft_us = 0", "ttft_us 0", "11230"),
    ("ttft_us = NULL", "ttft_us None", "11230"),
    ("total_us = 1", "total_us 1", "38440"),
    ("prompt_tokens = 8", "prompt_tokens 8", "7"),
    ("completion_tokens = NULL", "completion_tokens None", "20"),
    ("cached_tokens = 1", "cached_tokens 1", "None"),
    ("finish = 'length'", "finish length", "stop"),
    ("transfer = 'x'", "transfer x", "None"),
]


@pytest.mark.parametrize(("change", "said_so", "is_so"), COLUMNS)
def test_a_column_that_does_not_say_what_the_payload_says(
    tmp_path: Path, change: str, said_so: str, is_so: str
) -> None:
    """Each that is repeated for those who do not unpack is derived again; the recording is named."""
    path = record(tmp_path / "a", samples())
    with CassetteReader(path) as cassette:
        (name,) = cassette.one("SELECT id FROM v_exchange WHERE number = 1")
    changed(path, f"UPDATE exchange SET {change} WHERE id = 1")  # noqa: S608  from the table above
    assert verify(path) == (len(samples()), [Problem(name, f"its row says {said_so}, its payload {is_so}")])


DAMAGES: dict[str, tuple[str, str]] = {
    "another status": ("UPDATE exchange SET status = 201 WHERE id = 1", "is not what was written (its digest differs)"),
    "another ending": ("UPDATE exchange SET ending = 3, occurrence = NULL WHERE id = 5", "its digest differs"),
    "an ending that is none": ("UPDATE exchange SET ending = 9 WHERE id = 4", "ended in a way that does not exist (9)"),
    "another method": ("UPDATE endpoint SET method = 'PUT'", "its digest differs"),
    "another path": ("UPDATE endpoint SET path = '/v2'", "its digest differs"),
    "another model": ("UPDATE endpoint SET model = 'big'", "its row says model big, its payload tiny"),
    "another digest": ("UPDATE exchange SET digest = zeroblob(8) WHERE id = 1", "its digest differs"),
    "another key": ("UPDATE exchange SET key = zeroblob(16) WHERE id = 7", "its digest differs"),
    "an answer too long": ("UPDATE exchange SET response_size = 3 WHERE id = 1", "is longer than its row says"),
    "another's answer": (
        "UPDATE answer SET answer = (SELECT answer FROM answer WHERE exchange = 1) WHERE exchange = 2",
        "its digest differs",
    ),
    "another's times": (
        "UPDATE payload SET times = (SELECT times FROM payload WHERE exchange = 2) WHERE exchange = 1",
        "digest",
    ),
    "no times": ("UPDATE payload SET times = x'00' WHERE exchange = 1", "another number of chunks than of times"),
    "another's request": (
        "UPDATE payload SET request = (SELECT request FROM payload WHERE exchange = 3) WHERE exchange = 1",
        "its digest differs",
    ),
    "noise for an answer": ("UPDATE answer SET answer = x'0123456789' WHERE exchange = 1", "cannot be read"),
    "no payload": ("DELETE FROM payload WHERE exchange = 1", "a row of answer refers to a row of payload"),
    "no payload and no answer": (
        "DELETE FROM payload WHERE exchange = 1; DELETE FROM answer WHERE exchange = 1",
        "has no such recording",
    ),
    "no answer": ("DELETE FROM answer WHERE exchange = 1", "a stored NoneType stands where there are none"),
    "an answer of nobody": ("INSERT INTO answer VALUES (99999, x'')", "a row of answer refers to a row of payload"),
    "a payload of nobody": (
        "INSERT INTO payload VALUES (99999, x'', x'')",
        "a row of payload refers to a row of exchange",
    ),
    "a leg without answer": ("UPDATE leg SET answer = x'' WHERE leg = 1", "a stored number does not end"),
    "a leg with another's answer": (
        "UPDATE leg SET answer = (SELECT answer FROM leg WHERE leg = 2), times = (SELECT times FROM leg WHERE leg = 2)"
        " WHERE leg = 1",
        "the prefill leg of recording 5",
    ),
    "a leg of nobody": ("UPDATE leg SET exchange = 777", "a row of leg refers to a row of exchange"),
    "a leg with another role": ("UPDATE leg SET role = 'decode'", "the decode leg of recording 5"),
    "a leg of another server": ("UPDATE leg SET upstream = 'x' WHERE leg = 2", "the decode leg of recording 5"),
    "a leg at another time": ("UPDATE leg SET started_us = 7 WHERE leg = 1", "the prefill leg of recording 5"),
    "a leg with another status": ("UPDATE leg SET status = 7 WHERE leg = 1", "the prefill leg of recording 5"),
    "a leg with another head": (
        "UPDATE leg SET head_us = 7 WHERE leg = 1",
        "its prefill leg says that it began and ended at [7,",
    ),
    "a leg with another end": ("UPDATE leg SET total_us = 7 WHERE leg = 1", "its prefill leg says that it began"),
    "a hole among recordings": (
        "UPDATE exchange SET occurrence = 7 WHERE id = 5",
        "has 3 recordings, but they are numbered from 0 to 7",
    ),
    "recordings not from 0": ("UPDATE exchange SET occurrence = -1 WHERE id = 1", "are numbered from -1 to 2"),
    "recordings not in the order of asking": (
        "UPDATE exchange SET recorded_at = 0 WHERE id = 5",
        "exchange 5 was asked before the one that is played before it",
    ),
    "a recording without a place": ("UPDATE exchange SET occurrence = NULL WHERE id = 5", "but has no place among"),
    "a broken one with a place": ("UPDATE exchange SET occurrence = 3 WHERE id = 4", "exchange 4 contradicts itself"),
    "a cut request with a place": ("UPDATE exchange SET request_cut = 1 WHERE id = 1", "exchange 1 contradicts itself"),
    "an open one with an ending": ("UPDATE exchange SET state = 0 WHERE id = 4", "exchange 4 contradicts itself"),
    "a key too short": ("UPDATE exchange SET key = x'00' WHERE id = 4", "its digest differs"),
    "a dangling endpoint": ("DELETE FROM endpoint", "refers to a row of endpoint that is not there"),
    "segments of an answer that ended": (
        "INSERT INTO segment VALUES (1, 0, x'')",
        "exchange 1 is done, but has segments of a stream in flight",
    ),
    "a dictionary that is none": ("INSERT INTO dictionary VALUES (77, 'answer', x'00')", "dictionary 77"),
    "a vocabulary that is none": ("INSERT INTO dictionary VALUES (77, 'vocabulary', x'00')", "cannot be read"),
    "rules that do not exist": ("UPDATE meta SET value = '7' WHERE name = 'match'", "by which match rules"),
    "a path that is none": (
        """UPDATE meta SET value = '{"profile":"exact","ignore":["$["],"tag":"rp1"}' WHERE name = 'match'""",
        "is not a JSONPath",
    ),
}


@pytest.mark.parametrize(("sql", "words"), DAMAGES.values(), ids=DAMAGES.keys())
def test_every_kind_of_damage_is_found(tmp_path: Path, sql: str, words: str) -> None:
    """In keys, places, payloads, legs, rules and references: a sentence, never an exception."""
    said_of_it = found(changed(record(tmp_path / "a", samples()), sql))
    assert any(words in what for what in said_of_it), said_of_it


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
def test_exchanges_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """None is left out, and none is read twice, wherever a part ends."""
    monkeypatch.setattr("replayproxy.cassette.checking.verify.AT_ONCE", at_once)
    path = record(tmp_path / "a.cassette", samples())
    changed(path, "UPDATE exchange SET chunks = 999")
    with CassetteReader(path) as cassette:
        (finished,) = cassette.one("SELECT count(*) FROM exchange WHERE state = 1")
    count, problems = verify(path)
    assert count == finished > 5
    named = [problem.where for problem in problems if "says chunks 999" in problem.what]
    assert len(named) == len(set(named)) == finished


def test_a_key_that_the_request_does_not_give(tmp_path: Path) -> None:
    """Other rules than those of its keys: each recording whose key they change is named, with both."""
    path = record(tmp_path / "a", [exchange(asked("x", seed=1), said([b"x"])), exchange(asked("x"), said([b"x"]))])
    changed(path, "UPDATE meta SET value = replace(value, '[]', '[\"$.seed\"]') WHERE name = 'match'")
    (problem,) = found(path)
    assert problem == f"its key is {MATCHER.key(asked('x', seed=1))}, its request gives {MATCHER.key(asked('x'))}"


def test_a_sketch_that_is_not_of_its_request(tmp_path: Path) -> None:
    """Wrong, missing, or of a recording that should have none."""
    path = record(tmp_path / "a", [exchange(asked("x"), said([b"x"])), exchange(asked("x"), said([b"x"]))])
    whole = path.read_bytes()
    for change, problem in (
        ("UPDATE exchange SET sketch = zeroblob(12) WHERE sketch IS NOT NULL", "its sketch is not that of its request"),
        ("UPDATE exchange SET sketch = NULL", "exchange 1 has no sketch"),
        (
            "UPDATE exchange SET sketch = (SELECT sketch FROM exchange WHERE id = 1)",
            "exchange 2 has no sketch, or one that another",
        ),
    ):
        path.write_bytes(whole)
        changed(path, change)
        assert [problem in one for one in found(path)] == [True]


def test_a_broken_file_is_not_compared(tmp_path: Path) -> None:
    """What SQLite itself finds wrong is all that is said: nothing else of such a file can be trusted."""
    path = record(tmp_path / "a", samples())
    with closing(sqlite3.connect(path)) as connection, connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        page = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_leg_1'"
        ).fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(page - 1) * size + 8 :][:1] = b"\xff"
    path.write_bytes(content[: (page - 1) * size + 8] + b"\xff\xff" + content[(page - 1) * size + 10 :])
    count, problems = verify(path)
    assert count == 0
    assert problems
    assert all((problem.where == "" and "SQLite" in problem.what) or "damaged" in problem.what for problem in problems)


def test_what_is_no_cassette_cannot_be_verified(tmp_path: Path) -> None:
    """That is an error, and not a list of problems."""
    with pytest.raises(NotACassette):
        verify(tmp_path / "none")
