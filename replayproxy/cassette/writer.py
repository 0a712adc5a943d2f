"""Put exchanges on a cassette. Works in the thread that calls it; the `Writer` gives it one.

A tape comes in pieces. One piece alone becomes rows at once; a stream in flight becomes an open row with its request
and segments, folded into its answer in the transaction that marks it done. The first few hundred exchanges train the
dictionaries; those before are then packed again.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

import replayproxy
from replayproxy.cassette import database, packing, recovering
from replayproxy.cassette.coding import codec
from replayproxy.cassette.coding.times import as_read, ticks_of
from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.file_guard import FileGuard, FileLost, abandon, beside, is_sound, save, save_closed
from replayproxy.cassette.numbering import make_room
from replayproxy.cassette.reader import key_bytes, typed
from replayproxy.cassette.schema import provisional_digest
from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.identity.sketch import Sketch
from replayproxy.core.preparing import sketch_of
from replayproxy.errors import Damaged, SettingsError
from replayproxy.model import KEY_TAG, Chunks, End, Ending, Head, Key, Request, Response, is_playable
from replayproxy.ports import ExchangePart

TRAINED_AFTER = 256
"""Exchanges before the dictionaries are trained while recording."""

TRAINED_AT_SEAL = 24
"""Exchanges below which a dictionary would not pay for itself."""

REMEMBERED = 64 * 1024 * 1024
"""Bytes that streams in flight have said and that are kept in memory beside their segments."""

SMALL = 256 * 1024 * 1024
"""Bytes of bodies: a larger cassette is not rewritten at sealing (this takes about 3 s)."""


_FIRST = "SELECT count(*) FROM exchange WHERE key = ? AND occurrence = 0"

GONE = 0
"""No exchange has this number: a foreign key refuses what is to be added to it."""


@dataclass(slots=True)
class _Flight:
    """A stream in flight: its row, and what is known of it without looking there."""

    row: int
    request: Request | None = None
    """What stands in its payload."""
    key: Key = ""
    """The key of this request."""
    sketch: Sketch | None = None
    segments: int | None = None
    heard: list[Chunks] | None = None
    """What stands in its segments: to read it back would cost 2 us an event."""


class CassetteWriter:
    """The one who writes on this cassette, until `seal` or `close`."""

    def __init__(self, path: Path, matcher: Matcher, *, full_durability: bool = False, begin: bool = True) -> None:
        """Without `begin` the file is locked and looked at, and stays as it is until `begin_recording`."""
        self.path = path
        self.matcher = matcher
        self.full_durability = full_durability
        self._flights: dict[int, _Flight] = {}
        """By their tapes."""
        self._heard_bytes = 0
        self._noted: dict[str, object] = {}
        """What was said here about the cassette; the next one, after a rotation, gets it too."""
        self._left_out: Counter[str] = Counter()
        """Fields that this batch's answers had and that are not on the cassette."""
        self._before: tuple[dict[tuple[str, str, str | None], int], dict[int, int]] | None = None
        self._lock = database.Lock(path)
        self._begun = False
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
            self._find_rules(reading)

    def _open(self) -> None:
        self._connection = database.write(self.path, full=self.full_durability)
        try:
            with database.translated(str(self.path)):
                self._endpoints: dict[tuple[str, str, str | None], int] = {}
                self._settle_rules()
                self._dictionaries = Dictionaries(self._connection, self.path)
                self._trained = self._one("SELECT count(*) FROM exchange") if self._dictionaries.known else 0
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
        for flight in self._flights.values():
            flight.row = flight.row if flight.row in there else GONE

    def _settle_rules(self) -> None:
        """A cassette has one set of match rules: those of its first recorder."""
        if not self._find_rules(self._connection):
            self._connection.execute("BEGIN IMMEDIATE")  # all of it or nothing, whenever the power fails
            self._say("match", self.matcher.rules.document())
            self._say("creator", f"replayproxy {replayproxy.__version__}")
            if (redaction := self._redaction()) is not None:
                self._say("redaction", redaction)
            self._connection.execute("COMMIT")

    def _find_rules(self, reading: sqlite3.Connection) -> bool:
        """Whether a file has rules. Raises `SettingsError` where these are others, `Damaged` where they are none."""
        match = self.matcher.rules.document()
        stored = reading.execute("SELECT value FROM meta WHERE name = 'match'").fetchone()
        if stored is None:
            return False
        (said,) = typed(stored, str)
        try:
            same = orjson.loads(said) == match
        except orjson.JSONDecodeError as error:
            raise Damaged(f"{self.path} does not say by which match rules it was recorded: {error}") from error
        if not same:
            raise SettingsError(
                f"{self.path} was recorded with other match rules ({said}): use those, or record to another file"
            )
        self._refuse_other_redaction(reading)
        return True

    def _redaction(self) -> dict[str, object] | None:
        redactor = self.matcher.redactor
        return None if redactor is None else {"salt": redactor.salt.hex(), "rules": list(redactor.rules)}

    def _refuse_other_redaction(self, reading: sqlite3.Connection) -> None:
        """A cassette has one salt with one set of redaction rules: keys are made of what they leave."""
        stored = reading.execute("SELECT value FROM meta WHERE name = 'redaction'").fetchone()
        try:
            said = None if stored is None else orjson.loads(typed(stored, str)[0])
        except orjson.JSONDecodeError as error:
            raise Damaged(f"{self.path} does not say how its secrets were masked: {error}") from error
        if said != self._redaction():
            how = "before secrets were masked" if stored is None else "with other redaction rules"
            raise SettingsError(
                f"{self.path} was recorded {how}: run `replayproxy redact {self.path}` with the rules it shall have,"
                " or record to another file"
            )

    def _say(self, name: str, value: object) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, orjson.dumps(value).decode()))

    # Transactions

    def begin(self) -> None:
        """Start a batch. Raises `FileLost`."""
        self.refuse_lost()
        self._before = dict(self._endpoints), {tape: flight.row for tape, flight in self._flights.items()}
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the batch durable as far as promised."""
        if self._left_out:
            self._say("left_out", self._left_out_so_far() + self._left_out)
        self._connection.execute("COMMIT")
        self._left_out.clear()
        self._before = None
        self._guard.note()

    def rollback(self) -> None:
        """Forget the batch, if there is one, also what was remembered of it."""
        if self._before is not None:
            self._endpoints, rows = self._before
            self._before = None
            # What was remembered may not have been written; the segments know.
            self._flights = {tape: _Flight(row) for tape, row in rows.items()}
            self._heard_bytes = 0
        self._left_out.clear()
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

    # One tape

    def keep(self, piece: ExchangePart) -> None:
        """Write a piece of a tape, within a batch."""
        flight = self._flights.get(piece.tape)
        if piece.end is None:
            if flight is None:
                flight = self._flights[piece.tape] = self._begin(piece)
            self._add_segment(flight, piece)
            return
        if flight is not None:
            if flight.heard is not None:
                piece = replace(piece, chunks=Chunks.joined([*flight.heard, piece.chunks]))
            else:
                self._add_segment(flight, piece)
                head, chunks = self._segments(flight.row)
                piece = replace(piece, head=head or piece.head, chunks=chunks)
            self._forget(flight)
            del self._flights[piece.tape]
        self._finish(flight, piece)

    def _forget(self, flight: _Flight) -> None:
        if flight.heard is not None:
            self._heard_bytes -= sum(map(_weight, flight.heard))
            flight.heard = None

    def _forget_all(self) -> None:
        self._flights = {tape: _Flight(flight.row) for tape, flight in self._flights.items()}
        self._heard_bytes = 0

    def drop(self, tape: int) -> None:
        """Remove what there is of a tape."""
        flight = self._flights.pop(tape, None)
        if flight is not None:
            self._forget(flight)
            self._connection.execute("DELETE FROM exchange WHERE id = ?", (flight.row,))

    def note(self, name: str, value: object) -> None:
        """Say something about the cassette itself, as JSON; it stands in `info`."""
        self._noted[name] = value
        self._say(name, value)

    def note_dropped(self, reason: str, exchanges: int, at: int) -> None:
        """Say on the cassette what is not on it."""
        self._connection.execute("INSERT INTO dropped VALUES (?, ?, ?)", (at, reason, exchanges))

    def _begin(self, piece: ExchangePart) -> _Flight:
        key = piece.key or self.matcher.key(piece.request)
        # Its form is at hand now, and will not be when it ends.
        drawn = None if self._one(_FIRST, key_bytes(key)) else sketch_of(self.matcher, piece.request)
        number = self._one("SELECT coalesce(max(id), 0) + 1 FROM exchange")
        cursor = self._connection.execute(
            "INSERT INTO exchange (id, key, recorded_at, endpoint, stream, state, status, request_size, response_size,"
            " chunks, scope, digest) VALUES (?, ?, ?, ?, 1, 0, ?, ?, 0, 0, ?, ?)",
            (
                number,
                key_bytes(key),
                piece.recorded_at,
                self._endpoint(piece.request, None),
                piece.head.status if piece.head else 0,
                len(piece.request.body),
                piece.scope or None,
                provisional_digest(key_bytes(key), piece.recorded_at, number),
            ),
        )
        row = int(cursor.lastrowid or 0)
        self._connection.execute(
            "INSERT INTO payload VALUES (?, ?, x'')", (row, self._dictionaries.codec.pack_request(piece.request))
        )
        return _Flight(row, piece.request, key, drawn, segments=0, heard=[])

    def _add_segment(self, flight: _Flight, piece: ExchangePart) -> None:
        if flight.segments is None:
            flight.segments = self._one("SELECT count(*) FROM segment WHERE exchange = ?", flight.row)
        head = piece.head if flight.segments == 0 else None
        heard = self._dictionaries.codec.pack_segment(head, piece.chunks)
        self._connection.execute("INSERT INTO segment VALUES (?, ?, ?)", (flight.row, flight.segments, heard))
        flight.segments += 1
        if flight.heard is not None:
            flight.heard.append(piece.chunks)
            self._heard_bytes += _weight(piece.chunks)
            if self._heard_bytes > REMEMBERED:
                self._forget(flight)

    def _segments(self, row: int) -> tuple[Head | None, Chunks]:
        """A stream in flight, as far as it was written."""
        return recovering.segments(self._dictionaries.codec, self._connection, row)

    def _finish(self, flight: _Flight | None, piece: ExchangePart) -> None:
        """Write a whole exchange, in the place of its stream in flight if there was one."""
        assert piece.end is not None
        response = Response.of(piece.head, piece.chunks, piece.end)
        ticks = ticks_of(response.timeline)
        response = as_read(response, ticks)
        request = piece.request
        begun = flight is not None and flight.request == request  # an upload may have been completed since
        key = piece.key or (flight.key if flight is not None and begun else "") or self.matcher.key(request)
        occurrence, drawn = None, None
        # A request that was not read to its end has a key that no other request would have, or the wrong one's.
        if is_playable(response.status, response.ending) and not piece.request_cut:
            row_of = None if flight is None else flight.row
            occurrence, drawn = make_room(self._connection, key_bytes(key), piece.recorded_at, row_of)
        if drawn is None and flight is not None and begun:
            drawn = flight.sketch
        facts = facts_of(request, response)
        columns = {
            "id": None if flight is None else flight.row,
            "key": key_bytes(key),
            "occurrence": occurrence,
            "recorded_at": piece.recorded_at,
            "sketch": (drawn or sketch_of(self.matcher, request)) if occurrence == 0 else None,
            "endpoint": self._endpoint(request, model_of(facts)),
            "state": 1,
            "scope": piece.scope or None,
            "stalled": piece.stalled or None,
            "request_cut": piece.request_cut or None,
            "client_left": piece.client_left or None,
            "starved_us": piece.starved // 1000 or None,
            "digest": codec.digest(key, request, response, ticks),
            **derived_columns(request, response, facts),
        }
        if flight is not None:
            row = flight.row
            changes = ", ".join(f"{name} = :{name}" for name in columns if name != "id")
            self._connection.execute(f"UPDATE exchange SET {changes} WHERE id = :id", columns)
            self._connection.execute("DELETE FROM segment WHERE exchange = ?", (row,))
        else:
            names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
            inserted = self._connection.execute(f"INSERT INTO exchange ({names}) VALUES ({marks})", columns)
            row = int(inserted.lastrowid or 0)
        self._store(row, None if begun else request, response, ticks)
        self._left_out.update(piece.left_out)
        for position, leg in enumerate(piece.legs, 1):
            ticks = ticks_of(leg.response.timeline)
            heard = as_read(leg.response, ticks)
            self._connection.execute(
                "INSERT INTO leg VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(row, position, leg.role, leg.upstream, leg.request.method, leg.request.path),
                    *(heard.status, int(heard.ending), leg.started // 1000),
                    *(heard.timeline.head // 1000, heard.timeline.end // 1000),
                    codec.digest_of_leg(key, leg),
                    self._dictionaries.codec.pack_request(leg.request),
                    self._dictionaries.codec.pack_times(ticks),
                    self._packed(heard),
                ),
            )

    def _store(self, number: int, request: Request | None, response: Response, ticks: Sequence[int]) -> None:
        """Write a payload; without a request where that stands already."""
        times = self._dictionaries.codec.pack_times(ticks)
        if request is None:
            self._connection.execute("UPDATE payload SET times = ? WHERE exchange = ?", (times, number))
        else:
            packed = self._dictionaries.codec.pack_request(request)
            self._connection.execute("INSERT OR REPLACE INTO payload VALUES (?, ?, ?)", (number, packed, times))
        self._connection.execute("INSERT INTO answer VALUES (?, ?)", (number, self._packed(response)))

    def _packed(self, response: Response) -> bytes:
        chunks = response.chunks()
        return self._dictionaries.codec.pack_answer(response.headers, chunks.data(), chunks.continued)

    def _endpoint(self, request: Request, model: str | None) -> int:
        """The number of an endpoint and a model; a new one for new ones."""
        wanted = request.method, request.path, model
        if wanted not in self._endpoints:
            if len(self._endpoints) > 10_000:
                self._endpoints.clear()
            find = "SELECT id FROM endpoint WHERE method = ? AND path = ? AND model IS ?"
            found = self._connection.execute(find, wanted).fetchone()
            if found is None:
                insert = "INSERT INTO endpoint (method, path, model) VALUES (?, ?, ?) RETURNING id"
                found = self._connection.execute(insert, wanted).fetchone()
            self._endpoints[wanted] = int(found[0])
        return self._endpoints[wanted]

    # Streams that nobody ended

    def _finish_open(self, ending: Ending) -> int:
        """Keep what was written of them, and mark it. Gives their number."""
        rows = [row for (row,) in self._connection.execute("SELECT id FROM exchange WHERE state = 0")]
        if rows:
            self.begin()
            for row in rows:
                piece = self._so_far(row)
                end = End(piece.chunks.times[-1] if piece.chunks else piece.head.at if piece.head else 0, ending)
                self._finish(_Flight(row, piece.request), replace(piece, end=end))
            self.commit()
        return len(rows)

    def hand_over(self, other: CassetteWriter) -> set[int]:
        """Let another keeper go on with the streams in flight; nothing of them stays here. Gives the lost tapes.

        Between the two commits they are on both cassettes: a crash there leaves them marked on both, and none is lost.
        """
        for name, value in self._noted.items():
            other.note(name, value)
        lost = {tape for tape, flight in self._flights.items() if flight.row == GONE}
        going = {tape: flight.row for tape, flight in self._flights.items() if flight.row != GONE}
        if going:
            other.begin()
            for tape, row in going.items():
                other.keep(replace(self._so_far(row), tape=tape))
            other.commit()
            self.begin()
            for tape in going:
                self.drop(tape)
            self.commit()
        return lost

    def _so_far(self, row: int) -> ExchangePart:
        """What was written of a stream in flight, as one piece without an end."""
        found = self._connection.execute(
            "SELECT key, recorded_at, scope, method, path, request FROM exchange"
            " JOIN endpoint ON endpoint.id = endpoint JOIN payload ON payload.exchange = exchange.id"
            " WHERE exchange.id = ?",
            (row,),
        ).fetchone()
        if found is None:
            raise Damaged(f"{self.path} has lost a request that it had begun to answer: restore it from a copy")
        key, recorded_at, scope, method, path, frame = typed(found, bytes, int, str | None, str, str, bytes)
        head, chunks = self._segments(row)
        self._dictionaries.codec.row = "request", row
        return ExchangePart(
            tape=0,
            request=self._dictionaries.codec.unpack_request(frame, method, path),
            recorded_at=recorded_at,
            head=head,
            chunks=chunks,
            key=f"{KEY_TAG}:{key.hex()}",
            scope=scope or "",
        )

    # Dictionaries

    def train_when_due(self) -> None:
        """Train and pack again once enough has come. Costs about a fifth of a second, once in a cassette's life."""
        if not self._trained and self._one("SELECT count(*) FROM exchange WHERE state = 1") >= TRAINED_AFTER:
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
        exchanges = self._one("SELECT count(*) FROM exchange WHERE state = 1")
        small = self._one("SELECT coalesce(sum(request_size + response_size), 0) FROM exchange") < SMALL
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
                if small:
                    packing.pack(self._connection)
            self.close()
            if not self._guard.is_there():  # taken away a moment ago: what is open is whole
                self.path = save_closed(file, self.path, self._guard)
        finally:
            os.close(file)

    def discard(self) -> None:
        """Let go of a file on which this keeper has recorded nothing: one that it has made is no more."""
        if not self._begun:
            self.close()
            return
        try:
            if (self._made or self._was_empty) and self._one("SELECT count(*) FROM exchange") == 0:
                self._connection.close()
                if self._was_empty:
                    os.truncate(self.path, 0)
                for tail in ("-wal", "-shm", "-journal", *([""] if self._made else [])):
                    with suppress(OSError):
                        Path(f"{self.path}{tail}").unlink()  # the lock is ours still: nobody else records there
            else:
                self._connection.execute("PRAGMA journal_mode = DELETE")  # as it was before
        except sqlite3.Error:
            pass  # what is left of it is whole all the same
        finally:
            self.close()

    def close(self) -> None:
        """Let go, sealed or not."""
        try:
            if self._begun:
                self._connection.close()
        finally:
            self._lock.release()

    def _one(self, sql: str, *parameters: object) -> int:
        row = self._connection.execute(sql, parameters).fetchone()
        if row is None:
            raise Damaged(f"{self.path} has lost a row that it had a moment ago")
        (number,) = typed(row, int)
        return int(number)


def left_out(stored: object) -> Counter[str]:
    """What a cassette says of fields that it left out; nothing where it says something else."""
    named = stored.items() if isinstance(stored, dict) else ()
    return Counter({str(name): count for name, count in named if type(count) is int and 0 < count < 2**53})


def _weight(chunks: Chunks) -> int:
    """About how many bytes of memory they take."""
    return 50 * len(chunks) + len(chunks.body)
