"""The dictionaries of a cassette that is being written: learned when it is opened, trained on what it has come to hold.

    payloads so far ──▶ vocabulary ──▶ zstd dictionaries ──▶ the same payloads, packed again

Works within the transaction of whoever asks; knows no pieces and no streams in flight.
"""

from __future__ import annotations

import sqlite3

from replayproxy.cassette import codec
from replayproxy.cassette.cassette import typed
from replayproxy.cassette.codec import Codec, Kind


class Dictionaries:
    """Those of one connection, and the codec that writes with the newest of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last = 0
        self.codec = Codec(self._fetch)
        self.learn_all()

    def learn_all(self) -> None:
        """Know those that are on the cassette, and no others: a frame must not need what is not there."""
        self.codec = Codec(self._fetch)
        for row in self._connection.execute("SELECT id, kind, content FROM dictionary ORDER BY id"):
            number, kind, content = typed(row, int, str, bytes)
            self.codec.learn(number, kind, content)
            self._last = max(self._last, number)

    def train(self, which: str = "") -> int:
        """Train on these finished exchanges, and pack them again. Gives how many payloads there were.

        What there was of dictionaries stays, for what else is packed with it. Raises; then `learn_all` after the
        rollback.
        """
        rows = self._connection.execute(
            "SELECT payload.id, request, answer FROM payload JOIN answer USING (id)"
            f" JOIN exchange ON exchange.id = payload.id / 16 AND state = 1 {which}"
        ).fetchall()
        requests = [self.codec.expand(row[1]) for row in rows]
        answers = [self.codec.unpack_answer(row[2], codec.MAX_BODY) for row in rows]
        self._learn("vocabulary", codec.vocabulary(chunks for _, chunks in answers))
        said = [self.codec.plain_answer(fields, chunks) for fields, chunks in answers]
        self._learn("request", codec.train(requests, self.next))
        self._learn("answer", codec.train(said, self.next))
        self._pack_again("payload", "request", rows, requests)
        self._pack_again("answer", "answer", rows, said)
        return len(rows)

    def _pack_again(self, table: str, kind: Kind, rows: list[tuple[int, bytes, bytes]], plain: list[bytes]) -> None:
        packed = ((self.codec.squeeze(kind, one), row[0]) for one, row in zip(plain, rows, strict=True))
        self._connection.executemany(f"UPDATE {table} SET {kind} = ? WHERE id = ?", packed)

    def _learn(self, kind: Kind, content: bytes | None) -> None:
        if content is not None:
            number = self.next
            self._connection.execute("INSERT INTO dictionary VALUES (?, ?, ?)", (number, kind, content))
            self.codec.learn(number, kind, content)
            self._last = number

    @property
    def next(self) -> int:
        """The next number. None is used twice in one run: a reader may remember what a number meant."""
        (there,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM dictionary").fetchone()
        self._last = max(self._last, there)
        return self._last + 1

    def forget_before(self, number: int) -> None:
        """Remove those below this number, which nothing needs any more."""
        self._connection.execute("DELETE FROM dictionary WHERE id < ?", (number,))

    def _fetch(self, number: int) -> tuple[Kind, bytes] | None:
        found = self._connection.execute("SELECT kind, content FROM dictionary WHERE id = ?", (number,)).fetchone()
        return None if found is None else (found[0], found[1])

    @property
    def known(self) -> bool:
        """Whether there ever was one."""
        return self._last > 0
