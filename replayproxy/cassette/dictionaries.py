"""The dictionaries of a cassette that is being written: loaded when it is opened, trained on its own exchanges.

    payloads so far ──▶ vocabulary ──▶ zstd dictionaries ──▶ the same payloads, packed again

Works within the transaction of its caller. Knows no parts and no streams in flight.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from replayproxy.cassette import bundles, gaps
from replayproxy.cassette.budget import Budget
from replayproxy.cassette.coding import codec
from replayproxy.cassette.coding.codec import Answer, Codec, Kind
from replayproxy.cassette.coding.delta import runs_of
from replayproxy.cassette.coding.symbols import with_bits, with_bytes
from replayproxy.cassette.queries import typed

TRIED = 256
"""Answers that are packed with both kinds of vocabulary, to choose the smaller result: 30 ms per kind."""

Answers = Sequence[Answer]


class Dictionaries:
    """The dictionaries of one connection, and the codec that writes with the newest ones."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._last = 0
        self.learn_all()

    @contextmanager
    def budgeted(self) -> Iterator[None]:
        """Within the block, what is unpacked counts against a budget of the file as it is now.

        For reading a file that was opened, which may be hostile, and for packing it again. What this process has
        written needs no budget: a new file is smaller than one stream that is read back from it.
        Raises `OutOfProportion` in the block.
        """
        # Not the size of the files: the log of this run may be many times what is in it.
        (size,) = self._connection.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()
        self.codec.budget = Budget(str(self._path), size)
        try:
            yield
        finally:
            self.codec.budget = None

    def learn_all(self) -> None:
        """Load the dictionaries of the cassette, and no others: a frame must not need one that is not in the file."""
        self.codec = Codec(self._fetch)
        with self.budgeted():
            for row in self._connection.execute("SELECT id, kind, content FROM dictionary ORDER BY id"):
                number, kind, content = typed(row, int, str, bytes)
                self.codec.row = "dictionary", number
                self.codec.learn(number, kind, content)
                self._last = max(self._last, number)

    def train(self, which: str = "") -> int:
        """Train on these finished exchanges, and pack them again. Return how many payloads there were.

        Older dictionaries stay, because other payloads are packed with them. Raises `Damaged` or an error of SQLite;
        then call `learn_all` after the rollback.
        """
        bundles.scatter(self._connection)
        rows = self._connection.execute(
            "SELECT payload.exchange, 0, request, answer, times FROM payload JOIN answer USING (exchange)"
            f" JOIN exchange ON exchange.id = payload.exchange AND state = 1 {which}"
            " UNION ALL SELECT leg.exchange, leg, request, answer, times FROM leg"
            f" JOIN exchange ON exchange.id = leg.exchange AND state = 1 {which} ORDER BY 1, 2"
        ).fetchall()
        requests, answers, times = [], [], []
        with self.budgeted():
            for row in rows:
                number, leg, request, answer, packed_times = typed(row, int, int, bytes, bytes, bytes)
                self.codec.row = "packed again", number, leg
                requests.append(self.codec.expand(request))
                answers.append(self.codec.unpack_answer(answer))
                times.append(self.codec.unpack_times(packed_times))
        # Numbers in this order: `bundles` removes those of zstd, and may not if the highest were among them.
        of_requests = self.next
        of_answers, of_words, of_gaps = of_requests + 1, of_requests + 2, of_requests + 3
        self._learn(of_words, "vocabulary", _vocabulary(answers))
        trained = gaps.train([[after - before for before, after in pairwise(ticks)] for ticks in times])
        self._learn(of_gaps, "gaps", None if trained is None else codec.squeezed(trained))
        plain = [self.codec.plain_answer(*answer) for answer in answers]
        self._learn(of_requests, "request", codec.train(requests, of_requests))
        self._learn(of_answers, "answer", codec.train([rest for _, rest in plain], of_answers))
        for (number, leg, *_), request, ticks, plain_answer in zip(rows, requests, times, plain, strict=True):
            packed = self.codec.squeeze("request", request), self.codec.pack_times(ticks)
            answer_parts = self.codec.squeeze_answer(plain_answer)
            if leg:
                change = "UPDATE leg SET request = ?, times = ?, answer = ? WHERE exchange = ? AND leg = ?"
                self._connection.execute(change, (*packed, answer_parts, number, leg))
            else:
                change = "UPDATE payload SET request = ?, times = ? WHERE exchange = ?"
                self._connection.execute(change, (*packed, number))
                self._connection.execute("UPDATE answer SET answer = ? WHERE exchange = ?", (answer_parts, number))
        return len(rows)

    def _learn(self, number: int, kind: Kind, content: bytes | None) -> None:
        if content is not None:
            self._connection.execute("INSERT INTO dictionary VALUES (?, ?, ?)", (number, kind, content))
            self.codec.learn(number, kind, content)
            self._last = max(self._last, number)

    @property
    def next(self) -> int:
        """The next number. None is used twice in one run: a reader may have cached the dictionary of that number."""
        (there,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM dictionary").fetchone()
        self._last = max(self._last, there)
        return self._last + 1

    def forget_before(self, number: int) -> None:
        """Remove the dictionaries below this number. Nothing may be packed with them."""
        self._connection.execute("DELETE FROM dictionary WHERE id < ?", (number,))

    def _fetch(self, number: int) -> tuple[Kind, bytes] | None:
        found = self._connection.execute("SELECT kind, content FROM dictionary WHERE id = ?", (number,)).fetchone()
        if found is None:
            return None
        kind, content = typed(found, str, bytes)
        return kind, content

    @property
    def is_trained(self) -> bool:
        """Whether the cassette has ever had a dictionary."""
        return self._last > 0


def _vocabulary(answers: Answers) -> bytes | None:
    """Return the vocabulary that makes these answers smallest."""
    answer_parts = Counter(middle for answer in answers for middle in runs_of(answer.chunks)[1])
    found = [
        codec.squeezed(plain) for plain in (with_bytes(answer_parts), with_bits(answer_parts)) if plain is not None
    ]
    some = answers[:: 1 + len(answers) // TRIED]
    return min(found, key=lambda content: _size(content, some), default=None)


def _size(vocabulary: bytes, answers: Answers) -> int:
    """Return the bytes of a vocabulary and of these answers packed with it."""
    trial = Codec()
    trial.learn(1, "vocabulary", vocabulary)
    answer_parts = [trial.plain_answer(*answer) for answer in answers]
    trained = codec.train([plain for _, plain in answer_parts], 2)
    if trained is not None:
        trial.learn(2, "answer", trained)
    return len(vocabulary) + len(trained or b"") + sum(len(trial.squeeze_answer(plain)) for plain in answer_parts)
