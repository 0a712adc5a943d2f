"""Why recording is degraded, since when, and whether it may get well by itself."""

from __future__ import annotations

import logging
import sqlite3

from replayproxy.ports import Clock

log = logging.getLogger("replayproxy.recording")

PATIENCE_NANOSECONDS = 60_000_000_000
"""How long `--on-full block` lets clients wait for a disk that is not well; after that it is as `drop`, until it is."""

WORDS_EVERY = 60_000_000_000
"""Nanoseconds between two complaints in the log."""


class RecordingTrouble:
    """The trouble that a recording has now, if any."""

    def __init__(self, clock: Clock, *, block: bool) -> None:
        """`block`: clients wait for room in the queue."""
        self._clock = clock
        self._block = block
        self.reason: str | None = None
        """A sentence; None while recording is well."""
        self._since = 0
        self._last_words = clock.now() - WORDS_EVERY

    @property
    def has_lasted(self) -> bool:
        """Whether it has gone on for longer than clients are to wait."""
        return self.reason is not None and self._clock.now() - self._since >= PATIENCE_NANOSECONDS

    def begin(self, reason: str) -> None:
        """Note trouble; what was there before has another reason now."""
        if self.reason is None:
            self._since = self._clock.now()
        self.reason = reason

    def complain(self, *, waiting: bool) -> None:
        """Log it, not more than once per minute. `waiting`: clients still wait for its end."""
        if self._clock.now() - self._last_words < WORDS_EVERY:
            return
        self._last_words = self._clock.now()
        meanwhile = "traffic flows on"
        if self._block and waiting:
            meanwhile = f"clients wait when the queue is full, for {PATIENCE_NANOSECONDS // 10**9} s at most"
        log.error("recording is degraded, %s: %s", meanwhile, self.reason)

    def end(self) -> None:
        """Recording is well again."""
        self.reason = None


def may_pass(error: Exception) -> bool:
    """Whether the disk is at fault, which may get well by itself; else what was to be written is."""
    return isinstance(error, OSError | sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the content is not there, and not that it cannot be read now."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ)
