"""Write exchanges to a cassette: transactions, streams in flight, training, sealing. `WriterThread` gives it a thread.

An exchange comes in parts, by its number. A single part becomes rows at once; a stream in flight becomes an open row
with its request and segments, which the transaction that ends it folds into an answer. The first few hundred exchanges
train the dictionaries; they are then packed again.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from replayproxy.cassette import database, large_indexes, packing, recorded_rules
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.exchange_rows import Begun, ExchangeRows
from replayproxy.cassette.file_guard import FileGuard, FileLost, abandon, beside, is_sound, save, save_closed
from replayproxy.cassette.queries import typed
from replayproxy.cassette.server_state import StateRows
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.server_state import ServerState
from replayproxy.errors import Damaged
from replayproxy.model import Chunks, End, Ending
from replayproxy.ports import ExchangePart
from replayproxy.views.access import AccessEntry

TRAINED_AFTER = 256
"""Exchanges before the dictionaries are trained while recording."""

TRAINED_AT_SEAL = 24
"""Exchanges below which a dictionary would not pay for itself."""

REMEMBERED = 64 * 1024 * 1024
"""Bytes of streams in flight that are kept in memory beside their segments."""

SMALL = 256 * 1024 * 1024
"""Bytes of bodies: a larger cassette is not rewritten at sealing (this takes about 3 s)."""


GONE = 0
"""No exchange has this number: a foreign key refuses what is to be added to it."""


@dataclass(slots=True)
class _InFlight:
    """A stream in flight: its row, and what is known of it without reading that."""

    row: int
    begun: Begun | None = None
    """What `ExchangeRows.begin` wrote; None after a rollback."""
    segments: int | None = None
    """How many are written; None: count them."""
    received: list[Chunks] | None = None
    """What the segments contain: to read it back would cost 2 us an event."""


class CassetteWriter:
    """Writes to one cassette; holds its lock until `seal` or `close`."""

    def __init__(self, path: Path, matcher: Matcher, *, full_durability: bool = False, begin: bool = True) -> None:
        """Without `begin` the file is locked and looked at, and stays as it is until `begin_recording`."""
        self.path = path
        self.matcher = matcher
        self.full_durability = full_durability
        self._in_flight: dict[int, _InFlight] = {}
        """By their tapes."""
        self._received_bytes = 0
        self._noted: dict[str, object] = {}
        """Rows of `meta` that `note` wrote; the next cassette, after a rotation, gets them too."""
        self._left_out: Counter[str] = Counter()
        """Fields that this batch's answers had and that are not on the cassette."""
        self._before: tuple[dict[tuple[str, str, str | None], int], dict[int, int]] | None = None
        self._lock = database.Lock(path)
        self._begun = False
        self.keeps_entries = False
        """Whether `take_entries` will be called."""
        self._entries: list[Callable[[], AccessEntry]] = []
        self._handed_over: list[ExchangePart] = []
        """Whole exchanges of a prefill/decode pair in this batch."""
        self.crashed = 0
        """Streams that a recorder that died has left open."""
        try:
            if begin:
                self.begin_recording()
            else:
                self._refuse_unfit()
        except BaseException:
            self.close()
            raise

    def begin_recording(self) -> None:
        """Create the file or prepare it, and end what a recorder that died has left open.

        Raises `CassetteError`; then `discard`.
        """
        self._made = not self.path.exists()
        """The file was not there."""
        self._was_empty = not self._made and self.path.stat().st_size == 0
        self._open()
        self._begun = True
        try:
            with database.translated(str(self.path)), self._dictionaries.budgeted():
                self.crashed = self._finish_open(Ending.PROXY_CRASHED)
        except BaseException:
            with suppress(sqlite3.Error):
                self.rollback()
            raise

    def _refuse_unfit(self) -> None:
        """Raise what `begin_recording` would raise of a file that is there, without writing to it.

        Also a connection that writes nothing would: the last one that is closed moves a log into the file.
        """
        if not self.path.exists() or not (self.path.stat().st_size or Path(f"{self.path}-wal").exists()):
            return
        with closing(database.read(self.path, abandoned=False)) as reading, database.translated(str(self.path)):
            database.refuse_old(reading, self.path)
            recorded_rules.check(reading, self.path, self.matcher)

    def _open(self) -> None:
        self._connection = database.write(self.path, full=self.full_durability)
        try:
            with database.translated(str(self.path)):
                recorded_rules.settle(self._connection, self.path, self.matcher)
                self._dictionaries = Dictionaries(self._connection, self.path)
                self._rows = ExchangeRows(self._connection, self._dictionaries, self.matcher, self.path)
                self._state_rows = StateRows(self._connection, self.matcher.redactor)
                self._trained = (
                    self._rows.count("SELECT count(*) FROM exchange") if self._dictionaries.is_trained else 0
                )
                self._guard = FileGuard(self.path)
        except BaseException:
            with suppress(sqlite3.Error):  # as it was before
                self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.close()
            raise

    def reopen(self) -> None:
        """After an I/O error nothing that the old connection believes can be trusted.

        What was committed of streams in flight is still there, and they go on where they were; unless somebody has
        taken the file away. Raises `CassetteError`.
        """
        if not self._has_died:
            self.refuse_lost()  # as long as the old connection is open it has everything
        with suppress(sqlite3.Error):
            self._connection.close()
        self._open_again()

    def _open_again(self) -> None:
        self._forget_all()
        self._open()
        with database.translated(str(self.path)):
            there = {row for (row,) in self._connection.execute("SELECT id FROM exchange WHERE state = 0")}
        for stream in self._in_flight.values():
            stream.row = stream.row if stream.row in there else GONE

    # Transactions

    def begin(self) -> None:
        """Start a batch. Raises `FileLost`."""
        self.refuse_lost()
        self._before = dict(self._rows.endpoints), {number: stream.row for number, stream in self._in_flight.items()}
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the batch durable as far as promised."""
        if self._left_out:
            recorded_rules.write_meta(self._connection, "left_out", self._left_out_so_far() + self._left_out)
        self._connection.execute("COMMIT")
        self._left_out.clear()
        self._before = None
        self._guard.note()

    def rollback(self) -> None:
        """Forget the batch, if there is one, also what was remembered of it."""
        if self._before is not None:
            self._rows.endpoints, rows = self._before
            self._before = None
            # What was remembered may not have been written; the segments know.
            self._in_flight = {number: _InFlight(row) for number, row in rows.items()}
            self._received_bytes = 0
        self._left_out.clear()
        self._entries.clear()
        self._handed_over.clear()
        self._state_rows.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _left_out_so_far(self) -> Counter[str]:
        """In how many answers on this cassette which fields were left out."""
        stored = self._connection.execute("SELECT value FROM meta WHERE name = 'left_out'").fetchone()
        if stored is None:
            return Counter()
        with suppress(orjson.JSONDecodeError):  # it is damaged, and must not keep anybody from recording
            return left_out(orjson.loads(typed(stored, str)[0]))
        return Counter()

    def take_handed_over(self) -> list[ExchangePart]:
        """Return the exchanges with legs that were written since the last call."""
        taken, self._handed_over = self._handed_over, []
        return taken

    def take_entries(self) -> list[Callable[[], AccessEntry]]:
        """Return what makes the entries, for an access log, of the exchanges that were written since the last call."""
        entries, self._entries = self._entries, []
        return entries

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file, as far as readers let it, and sync."""
        self.refuse_lost()
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._guard.note()

    # A file that is taken away

    def refuse_lost(self) -> None:
        """Raise `FileLost` where the files are not those that were opened, or have been cut off or overwritten."""
        if (what := self._guard.find()) is not None:
            raise FileLost(what)

    @property
    def _has_died(self) -> bool:
        """Whether the connection was closed, which takes the log away, and the file is where it was."""
        try:
            return self._connection.total_changes < 0
        except sqlite3.ProgrammingError:
            return self._guard.is_there()

    def look_for_strangers(self) -> None:
        """Raise `FileLost` where another program has written over the cassette. Reads all of it if any has written."""
        self.refuse_lost()
        if self._guard.was_written_to():
            if not is_sound(self.path):
                raise FileLost(f"{self.path} has been overwritten")
            self._guard.note()

    def rescue(self) -> None:
        """Put all that is on the lost file under its name again, or under one beside it, and go on there.

        Streams in flight go on too. Raises `OSError` and `sqlite3.Error` where that cannot be now, and `CassetteError`
        where it never can be, for the content is gone.
        """
        if self._has_died:
            self._open_again()
            return
        self.rollback()
        self._go_on_at(save(self._connection, self.path, self._guard))

    def begin_again(self) -> None:
        """Leave a file whose content is gone as it is, and go on with an empty one beside it.

        Streams in flight are lost. Raises as the constructor does.
        """
        with suppress(sqlite3.Error):
            self.rollback()
        self._go_on_at(beside(self.path), empty=True)

    def _go_on_at(self, path: Path, *, empty: bool = False) -> None:
        lock = database.Lock(path) if path != self.path or not self._lock.is_held else self._lock
        if empty or not self._guard.is_free():
            abandon(self._connection)
        else:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._guard.remove_log()
        if lock is not self._lock:
            self._lock.release()
        self.path, self._lock, self._guard = path, lock, FileGuard(path)
        self._open_again()

    # One exchange

    def keep(self, part: ExchangePart) -> None:
        """Write a part of an exchange, within a batch."""
        stream = self._in_flight.get(part.number)
        if part.end is None:
            if stream is None:
                begun = self._rows.begin(part)
                stream = self._in_flight[part.number] = _InFlight(begun.row, begun, segments=0, received=[])
            self._add_segment(stream, part)
            return
        if stream is not None:
            if stream.received is not None:
                part = replace(part, chunks=Chunks.joined([*stream.received, part.chunks]))
            else:
                self._add_segment(stream, part)
                head, chunks = self._rows.segments(stream.row)
                part = replace(part, head=head or part.head, chunks=chunks)
            self._forget(stream)
            del self._in_flight[part.number]
            entry = self._rows.finish(stream.row, stream.begun, part)
        else:
            entry = self._rows.finish(None, None, part)
        if self.keeps_entries:
            self._entries.append(entry)
        if part.legs:
            self._handed_over.append(part)
        self._left_out.update(part.left_out)

    def _forget(self, stream: _InFlight) -> None:
        if stream.received is not None:
            self._received_bytes -= sum(map(_weight, stream.received))
            stream.received = None

    def _forget_all(self) -> None:
        self._in_flight = {number: _InFlight(stream.row) for number, stream in self._in_flight.items()}
        self._received_bytes = 0

    def drop(self, number: int) -> None:
        """Remove what is written of an exchange."""
        stream = self._in_flight.pop(number, None)
        if stream is not None:
            self._forget(stream)
            self._connection.execute("DELETE FROM exchange WHERE id = ?", (stream.row,))

    def keep_state(self, state: ServerState) -> None:
        """Write what the server published of its own state, within a batch."""
        self._state_rows.add(state)

    def note(self, name: str, value: object) -> None:
        """Write a fact about the cassette itself, as JSON; `info` shows it."""
        self._noted[name] = value
        recorded_rules.write_meta(self._connection, name, value)

    def note_dropped(self, reason: str, exchanges: int, at: int) -> None:
        """Write how many exchanges are missing, and why."""
        self._connection.execute("INSERT INTO dropped VALUES (?, ?, ?)", (at, reason, exchanges))

    def _add_segment(self, stream: _InFlight, part: ExchangePart) -> None:
        if stream.segments is None:
            stream.segments = self._rows.count_segments(stream.row)
        self._rows.add_segment(stream.row, stream.segments, part.head, part.chunks)
        stream.segments += 1
        if stream.received is not None:
            stream.received.append(part.chunks)
            self._received_bytes += _weight(part.chunks)
            if self._received_bytes > REMEMBERED:
                self._forget(stream)

    # Streams that have no end

    def _finish_open(self, ending: Ending) -> int:
        """End them as far as they were written, with this ending. Return their number."""
        rows = [row for (row,) in self._connection.execute("SELECT id FROM exchange WHERE state = 0")]
        if rows:
            self.begin()
            for row in rows:
                part = self._rows.so_far(row)
                end = End(part.chunks.times[-1] if part.chunks else part.head.at if part.head else 0, ending)
                self._rows.finish(row, Begun(row, part.request), replace(part, end=end))
            self.commit()
        return len(rows)

    def hand_over(self, other: CassetteWriter) -> set[int]:
        """Let another writer go on with the streams in flight, of which nothing stays here.

        Returns the numbers of those that are lost.
        Between the two commits they are on both cassettes: a crash there leaves them marked on both, and none is lost.
        """
        for name, value in self._noted.items():
            other.note(name, value)
        lost = {number for number, stream in self._in_flight.items() if stream.row == GONE}
        going = {number: stream.row for number, stream in self._in_flight.items() if stream.row != GONE}
        if going:
            other.begin()
            for number, row in going.items():
                other.keep(replace(self._rows.so_far(row), number=number))
            other.commit()
            self.begin()
            for number in going:
                self.drop(number)
            self.commit()
        return lost

    # Dictionaries

    def train_when_due(self) -> None:
        """Train and pack again once enough has come. Costs about a fifth of a second, once in a cassette's life."""
        if not self._trained and self._rows.count("SELECT count(*) FROM exchange WHERE state = 1") >= TRAINED_AFTER:
            self._trained = 1  # tried, whatever comes of it; the next time is at sealing
            self._train("WHERE response_size < 262144")

    def _train(self, which: str = "") -> None:
        """Train on these exchanges, in a transaction."""
        self.begin()
        try:
            packed = self._dictionaries.train(which)
            self.commit()
        except BaseException:
            self.rollback()
            self._dictionaries.learn_all()
            raise
        self._trained = max(1, packed)

    # The end

    def seal(self) -> None:
        """Leave one file that opens read-only anywhere, and let go of it.

        A small cassette that has doubled since it was last trained is trained on all that it has: after 600 chats
        this takes 0.4 s and leaves 0.07 % of the SSE bytes less.
        """
        self._finish_open(Ending.PROXY_STOPPED)
        exchanges = self._rows.count("SELECT count(*) FROM exchange WHERE state = 1")
        small = self._rows.count("SELECT coalesce(sum(request_size + response_size), 0) FROM exchange") < SMALL
        if small and exchanges >= max(TRAINED_AT_SEAL, 2 * self._trained):
            before = self._dictionaries.next
            with suppress(Damaged):  # the file stays larger; an old row that cannot be read keeps no new one from disk
                self._train()
                self._dictionaries.forget_before(before)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._guard.note()
        self.refuse_lost()
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # A reader may hold the log open: then the file stays in WAL mode, whole all the same.
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA journal_mode = DELETE")
                large_indexes.add(self._connection)
                if small:
                    packing.pack(self._connection)
            self.close()
            if not self._guard.is_there():  # taken away a moment ago: what is open is whole
                self.path = save_closed(file, self.path, self._guard)
        finally:
            os.close(file)

    def discard(self) -> None:
        """Close a file to which nothing was recorded, and remove it if this writer has made it."""
        if not self._begun:
            self.close()
            return
        try:
            if (self._made or self._was_empty) and self._rows.count("SELECT count(*) FROM exchange") == 0:
                self._connection.close()
                if self._was_empty:
                    os.truncate(self.path, 0)
                for tail in ("-wal", "-shm", "-journal", *([""] if self._made else [])):
                    with suppress(OSError):
                        Path(f"{self.path}{tail}").unlink()  # the lock is still ours: no other recorder is there
            else:
                self._connection.execute("PRAGMA journal_mode = DELETE")  # as it was before
        except sqlite3.Error:
            pass  # what is left of it is whole all the same
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and release its lock, sealed or not."""
        try:
            if self._begun:
                self._connection.close()
        finally:
            self._lock.release()


def left_out(stored: object) -> Counter[str]:
    """What a cassette says of fields that it left out; nothing where it says something else."""
    named = stored.items() if isinstance(stored, dict) else ()
    return Counter({str(name): count for name, count in named if type(count) is int and 0 < count < 2**53})


def _weight(chunks: Chunks) -> int:
    """About how many bytes of memory they take."""
    return 50 * len(chunks) + len(chunks.body)
