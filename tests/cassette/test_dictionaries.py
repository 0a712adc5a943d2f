"""What is trained packs the same payloads smaller, takes numbers that nobody had, and is all that is known of it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import database
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.writer import CassetteWriter
from tests.recordings import MATCHER, asked, chats, exchange, keep, pieces, said, streamed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Chats that nothing was trained on: their recorder died."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(60)) for piece in pieces(item, tape)])
    keeper.close()
    return path


def sizes(opened: sqlite3.Connection) -> int:
    """Bytes of what is packed."""
    sql = "SELECT sum(length(request) + length(answer)) FROM payload JOIN answer USING (exchange)"
    return int(opened.execute(sql).fetchone()[0])


def kinds(opened: sqlite3.Connection) -> list[tuple[int, str]]:
    """Numbers and kinds."""
    return opened.execute("SELECT id, kind FROM dictionary ORDER BY id").fetchall()


def test_what_is_trained_makes_payloads_smaller(path: Path) -> None:
    """A vocabulary and a dictionary for each side; and everything still holds."""
    with closing(database.write(path, full=False)) as opened:
        dictionaries, before = Dictionaries(opened, path), sizes(opened)
        assert (dictionaries.is_trained, dictionaries.next) == (False, 1)
        assert dictionaries.train() == 60
        assert sizes(opened) < 0.5 * before
        assert kinds(opened) == [(1, "request"), (2, "answer"), (3, "vocabulary")]
        assert (dictionaries.is_trained, dictionaries.next) == (True, 4)
    assert verify(path) == (60, [])


WORDS = [" ".join(("tell", "who", str(number))).encode() for number in range(300)]


@pytest.mark.parametrize(("phrase", "bits"), [(1, True), (12, False)])
def test_the_vocabulary_is_of_the_kind_that_fits(tmp_path: Path, phrase: int, bits: bool) -> None:
    """Words that come as they please get bits; phrases that come again get bytes, for zstd to find them."""
    chance = random.Random(1)
    phrases = [chance.choices(WORDS, k=phrase) for _ in range(300)]
    keeper = CassetteWriter(tmp_path / "b.cassette", MATCHER)
    for tape in range(60):
        words = [word.decode() for _ in range(120 // phrase) for word in chance.choice(phrases)]
        keep(keeper, pieces(exchange(asked(f"{tape}"), said(streamed(words, tape)), tape), tape))
    keeper.close()
    with closing(database.write(keeper.path, full=False)) as opened:
        dictionaries = Dictionaries(opened, keeper.path)
        dictionaries.train()
        (content,) = opened.execute("SELECT content FROM dictionary WHERE kind = 'vocabulary'").fetchone()
        assert dictionaries.codec.vocabulary(content).has_bits == bits
    assert verify(keeper.path) == (60, [])


def test_no_number_is_used_twice(path: Path) -> None:
    """Also where what had it is gone; what is trained anew needs nothing that was there before."""
    with closing(database.write(path, full=False)) as opened:
        dictionaries = Dictionaries(opened, path)
        for first in (1, 4):
            assert dictionaries.next == first
            dictionaries.train()
            dictionaries.forget_before(first)
            assert [number for number, _ in kinds(opened)] == [first, first + 1, first + 2]
        dictionaries.forget_before(100)
        assert (kinds(opened), dictionaries.next) == ([], 7)


def test_what_was_rolled_back_is_not_written_with(path: Path) -> None:
    """A frame must not need what is not on the cassette."""
    with closing(database.write(path, full=False)) as opened:
        dictionaries = Dictionaries(opened, path)
        opened.execute("BEGIN")
        dictionaries.train()
        opened.execute("ROLLBACK")
        dictionaries.learn_all()
        frame = dictionaries.codec.squeeze("request", b"asked")
        assert Dictionaries(opened, path).codec.expand(frame) == b"asked"
    assert verify(path) == (60, [])


def test_it_trains_on_what_it_is_told(path: Path) -> None:
    """Of the finished ones."""
    with closing(database.write(path, full=False)) as opened:
        assert Dictionaries(opened, path).train("WHERE exchange.id <= 30") == 30
