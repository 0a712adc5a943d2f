"""Tests of `views/exchange_id`: any prefix that only one exchange has."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from replayproxy.cassette.database import Lock
from tests.cli.tapes import Read, chat, in_flight, writing


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """Four exchanges whose digests were chosen, so that their prefixes are known. Only `info`, `ls` can be asked."""
    path = tmp_path / "ids.cassette"
    with writing(path) as keep:
        keep(*(chat(f"{number}", started=number) for number in range(4)))
    connection = sqlite3.connect(path)
    for number, digest in enumerate(
        ("7f3a1c0200000000", "7f3a1c0211111111", "7f00000000000000", "ab00000000000000"), 1
    ):
        connection.execute("UPDATE exchange SET digest = ? WHERE id = ?", (bytes.fromhex(digest), number))
    connection.commit()
    connection.close()
    return path


def test_any_unique_prefix_will_do(read: Read, mixed: Path) -> None:
    """In either case; all sixteen digits too."""
    for row in json.loads(read("ls", mixed, "--json", "--where", "state = 'done'").out):
        whole = row["id"]
        for prefix in (whole, whole[:6], whole.upper()):
            ran = read("show", mixed, prefix, "--json")
            assert (ran.code, json.loads(ran.out)["id"]) == (0, whole)


def test_without_a_prefix_the_newest_that_is_over(read: Read, mixed: Path) -> None:
    """Not the one in flight."""
    assert json.loads(read("show", mixed, "--json").out)["prompt_tokens"] == 1842


AMBIGUOUS = [
    ("7f", ["7f3a1c0200000000", "7f3a1c0211111111", "7f00000000000000"]),
    ("7F3a", ["7f3a1c0200000000", "7f3a1c0211111111"]),
]


@pytest.mark.parametrize(("prefix", "candidates"), AMBIGUOUS)
def test_an_ambiguous_prefix_lists_its_candidates(read: Read, ids: Path, prefix: str, candidates: list[str]) -> None:
    """With as many digits as tell them apart, and what they are."""
    ran = read("show", ids, prefix)
    assert (ran.code, ran.out) == (2, "")
    first, *lines = ran.err.splitlines()
    assert first == f"replayproxy: {prefix} begins several ids on {ids}; give one more digit:"
    assert [line.split()[0] for line in lines] == candidates
    assert lines[0].endswith("2026-11-18T11:06:40.000Z  POST /v1/chat/completions  tiny")


NO_ID = "is not an id: give the first hex digits of one, such as ab000000, 7f000000, 7f3a1c02; all: replayproxy ls {}"

UNKNOWN = [
    (
        "7f4",
        "no exchange on {} has an id that begins with 7f4; nearest: 7f3a1c02, 7f000000. All: replayproxy ls {}",
    ),
    ("c", "no exchange on {} has an id that begins with c; all: replayproxy ls {}"),
    ("xyz", f"'xyz' {NO_ID}"),
    ("7f*", f"'7f*' {NO_ID}"),
    ("0" * 17, f"'{'0' * 17}' {NO_ID}"),
]


@pytest.mark.parametrize(("prefix", "sentence"), UNKNOWN)
def test_an_unknown_prefix_says_what_is_near(read: Read, ids: Path, prefix: str, sentence: str) -> None:
    """And how to list them."""
    ran = read("show", ids, prefix)
    assert (ran.code, ran.err) == (2, "replayproxy: " + sentence.replace("{}", str(ids)) + "\n")


def test_equal_recordings_are_one(read: Read, tmp_path: Path) -> None:
    """The same request, bytes and times have the same id: any of them is the one."""
    path = tmp_path / "twice.cassette"
    with writing(path) as keep:
        keep(chat(), chat(started=5))
    first, second = json.loads(read("ls", path, "--json").out)
    if first["id"] == second["id"]:
        assert read("show", path, first["id"]).code == 0


def test_nothing_to_show(read: Read, empty: Path, tmp_path: Path) -> None:
    """Nothing was recorded, or nothing is over."""
    open_only = tmp_path / "open.cassette"
    with writing(open_only, sealed=False) as keep:
        keep(in_flight(chat()))
    recorder = Lock(open_only)
    for path in (empty, open_only):
        ran = read("show", path)
        assert (ran.code, ran.err) == (2, f"replayproxy: {path} holds no finished exchange yet\n")
    recorder.release()
