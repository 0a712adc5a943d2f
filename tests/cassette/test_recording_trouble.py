"""Tests of `cassette/recording_trouble`: how long clients wait for its end, and how often it is logged."""

from __future__ import annotations

import sqlite3

import pytest

from replayproxy.cassette.recording_trouble import (
    PATIENCE_NANOSECONDS,
    WORDS_EVERY,
    RecordingTrouble,
    is_damage,
    may_pass,
)
from tests.doubles.fakes import ManualClock


def test_clients_wait_for_a_minute_from_its_beginning() -> None:
    """Another reason in between begins no new minute; the end does."""
    clock = ManualClock()
    trouble = RecordingTrouble(clock, block=True)
    trouble.begin("the disk is full")
    clock.move(PATIENCE_NANOSECONDS - 1)
    trouble.begin("the disk is gone")
    assert (trouble.reason, trouble.has_lasted) == ("the disk is gone", False)
    clock.move(1)
    assert trouble.has_lasted
    trouble.end()
    assert (trouble.reason, trouble.has_lasted) == (None, False)
    trouble.begin("the disk is full again")
    assert not trouble.has_lasted


@pytest.mark.parametrize(
    ("block", "waiting", "meanwhile"),
    [(True, True, "clients wait"), (True, False, "traffic flows on"), (False, True, "traffic flows on")],
)
def test_it_is_logged_once_per_minute(
    block: bool, waiting: bool, meanwhile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With what becomes of traffic."""
    clock = ManualClock()
    trouble = RecordingTrouble(clock, block=block)
    trouble.begin("the disk is full")
    for _ in range(3):
        trouble.complain(waiting=waiting)
    clock.move(WORDS_EVERY)
    trouble.complain(waiting=waiting)
    assert len(caplog.messages) == 2
    assert all(meanwhile in message and message.endswith("the disk is full") for message in caplog.messages)


def _error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(28, "No space left on device"), True),
        (_error(sqlite3.OperationalError, sqlite3.SQLITE_FULL), True),
        (_error(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT), True),
        (_error(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT), False),
        (ValueError("a number out of range"), False),
    ],
)
def test_what_may_get_well_by_itself(error: Exception, passes: bool) -> None:
    """The disk may; what was to be written will be the same the next time."""
    assert may_pass(error) is passes


@pytest.mark.parametrize(
    ("code", "damaged"),
    [(sqlite3.SQLITE_CORRUPT, True), (sqlite3.SQLITE_NOTADB, True), (sqlite3.SQLITE_FULL, False)],
)
def test_what_says_that_the_content_is_gone(code: int, damaged: bool) -> None:
    """A full disk has lost nothing."""
    assert is_damage(_error(sqlite3.DatabaseError, code)) is damaged
