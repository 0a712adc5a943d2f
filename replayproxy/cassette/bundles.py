"""Payloads of many exchanges in one row, compressed together, because those of one recording resemble each other.

    payload, answer ── gather, when a file is sealed ──▶ bundle   layout · requests · times · codes · answers
                    ◀── scatter, before rows change ───

`id` is the number of the first exchange in it; the layout says which others, and how long the parts of each are. Of 600
chats this takes 0.35 % of the SSE bytes less than a zstd frame each with a trained dictionary, and times that are coded
together (`joint_times`) another 0.24 %. To read one exchange takes its whole bundle, 4 ms, and the times of some
dozens, 6 ms: who reads keeps the last few (`Bundles`). Long payloads stay where they are, and all those of a small
file. Works within the transaction of whoever asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import msgpack

from replayproxy.cassette.budget import Budget, Share
from replayproxy.cassette.coding import bundled, codec, joint_times, untrusted
from replayproxy.cassette.coding.codec import Codec, Kind
from replayproxy.cassette.coding.joint_times import JointTimes
from replayproxy.cassette.coding.times import TICK, pack_times
from replayproxy.errors import Damaged

BUNDLE, MOST = 512 * 1024, 4096
"""Bytes of one column, unpacked, and exchanges, after which a bundle is full."""

LONGEST, LONGEST_PLAIN = 16 * 1024, 64 * 1024
"""Bytes of a payload that is put into one, packed and unpacked; of longer ones a dictionary makes as much."""

FEWEST = 24
"""Payloads below which bundles do not pay."""

KEPT = 4
"""Bundles that a reader keeps: at most 9 MB."""

MOST_TIMES = 500_000
"""Times of one bundle: some MB of memory while they are read."""

_TIME = 64
"""Bytes of memory that a time takes while it is read, about."""

_LIMIT = BUNDLE + LONGEST_PLAIN

_STORED = (
    "SELECT payload.exchange, request, times, answer, recorded_at FROM payload JOIN answer USING (exchange)"
    " JOIN exchange ON exchange.id = payload.exchange AND state = 1"
    f" WHERE length(request) + length(times) + length(answer) <= {LONGEST} ORDER BY payload.exchange"
)

_NEEDLESS = """
DELETE FROM dictionary WHERE kind IN ('request', 'answer')
    AND id < (SELECT max(id) FROM dictionary WHERE kind IN ('vocabulary', 'gaps'))
    AND NOT EXISTS (SELECT 1 FROM payload) AND NOT EXISTS (SELECT 1 FROM leg) AND NOT EXISTS (SELECT 1 FROM segment)
"""
"""zstd dictionaries that no frame needs. A number that was the highest is not given again: a reader may remember it."""

First = Callable[..., Sequence[Any] | None]
"""Gives the first row of a query."""


class Packed(NamedTuple):
    """What is stored of an exchange."""

    request: bytes
    times: bytes
    answer: bytes


class _Plain(NamedTuple):
    """The same as it stands in a bundle: request and answer are no frames."""

    request: bytes
    times: bytes
    codes: bytes
    answer: bytes


class Bundle:
    """One that was stored. Raises `Damaged`."""

    def __init__(self, first: int, unpacker: Codec, layout: bytes, *columns: bytes) -> None:
        requests, times, codes, answers = columns
        shape = untrusted.array(unpacker.expand_bundled(layout, 32 * MOST), 5, 7)
        numbers, (coders, joint) = shape[:5], shape[5:] or ([bundled.ZSTD, bundled.ZSTD], None)
        if not all(map(untrusted.are_counts, numbers)) or len({len(each) for each in numbers}) != 1:
            raise Damaged(f"stored bundle {first} has a layout of the wrong shape")
        steps, *sizes = numbers
        if not untrusted.are_counts(coders) or len(coders) != 2:
            raise Damaged(f"stored bundle {first} does not say by what it is compressed")
        if not 0 < len(steps) <= MOST or steps[0] != 0 or 0 in steps[1:]:
            raise Damaged(f"stored bundle {first} has exchanges that do not ascend")
        self._joint: JointTimes | None = None
        self._times = len(times), sizes[1]
        if joint is not None:
            bundled.count(unpacker, times, _TIME * sum(sizes[1]))
            self._joint = JointTimes(joint, times, sizes[1])
            sizes[1], times = [0] * len(steps), b""
        plain = (
            bundled.expanded(unpacker, coders[0], requests, _LIMIT),
            *(times, codes),
            bundled.expanded(unpacker, coders[1], answers, _LIMIT),
        )
        if any(sum(own) != len(column) for own, column in zip(sizes, plain, strict=True)):
            raise Damaged(f"stored bundle {first} has a layout that does not cover what it holds")
        self.numbers = list(accumulate(steps, initial=first))[1:]
        self._index = {number: index for index, number in enumerate(self.numbers)}
        self._columns = [
            (column, list(pairwise(accumulate(own, initial=0)))) for own, column in zip(sizes, plain, strict=True)
        ]
        self._stored = len(requests), len(answers)

    def __contains__(self, number: int) -> bool:
        return number in self._index

    def plain(self, number: int) -> _Plain:
        """The parts of an exchange that is in it."""
        index = self._index[number]
        plain = _Plain(*(column[slice(*places[index])] for column, places in self._columns))
        return plain if self._joint is None else plain._replace(times=pack_times(self._joint[index]))

    def sizes(self, number: int) -> tuple[int, int, int]:
        """Bytes that its request, its answer and its times take; what is compressed together is shared out."""
        index = self._index[number]
        parts = _Plain(*(column[slice(*places[index])] for column, places in self._columns))
        requests, answers = (
            -(-stored * len(part) // max(1, len(column)))
            for stored, part, (column, _) in zip(
                self._stored, (parts.request, parts.answer), self._columns[::3], strict=True
            )
        )
        times, counts = self._times
        return requests, answers + len(parts.codes), -(-times * counts[index] // max(1, sum(counts)))


class Bundles:
    """Those of one file, as one thread reads them."""

    def __init__(self, first: First, unpacker: Codec) -> None:
        self._first = first
        self._codec = unpacker
        self._cached: dict[int, Bundle] = {}

    def holding(self, number: int) -> Bundle | None:
        """The one with the payload of this exchange, if there is one. Raises `Damaged`."""
        cached = next((bundle for bundle in self._cached.values() if number in bundle), None)
        if cached is not None:
            return cached
        # What a stranger says is a bundle may be as long as the file.
        row = self._first(
            "SELECT id, layout, requests, times, codes, answers FROM bundle WHERE id <= ? AND length(layout)"
            f" + length(requests) + length(times) + length(codes) + length(answers) <= {4 * _LIMIT}"
            " ORDER BY id DESC LIMIT 1",
            number,
        )
        if row is None:
            return None
        if not isinstance(row[0], int) or not all(isinstance(column, bytes) for column in row[1:]):
            raise Damaged("a stored bundle holds what is no bytes")
        before, self._codec.row = self._codec.row, ("bundle", row[0])
        try:
            bundle = Bundle(row[0], self._codec, *row[1:])
        finally:
            self._codec.row = before
        self._cached.pop(row[0], None)  # there may be more in it by now
        if len(self._cached) >= KEPT:
            self._cached.pop(next(iter(self._cached)))
        self._cached[row[0]] = bundle
        return bundle if number in bundle else None

    def find(self, number: int) -> Packed | None:
        """The payload of an exchange, if it is in a bundle. Raises `Damaged`."""
        bundle = self.holding(number)
        if bundle is None:
            return None
        request, times, codes, answer = bundle.plain(number)
        quick, sizes = self._codec.squeeze_quickly, bundle.sizes(number)
        answer = codec.behind(codes, quick(answer))
        return Packed(Share.of(quick(request), sizes[0]), times, Share.of(answer, sizes[1]))


def gather(connection: sqlite3.Connection, *, thorough: bool = True) -> None:
    """Put the payloads of finished exchanges into bundles, and remove what dictionaries nothing needs any more.

    `thorough`: as small as it gets, which takes some seconds for 10 MB of a file. Raises `Damaged` where one of them
    is.
    """
    rows = connection.execute(_STORED).fetchall()
    (there,) = connection.execute("SELECT count(*) FROM bundle").fetchone()
    if there and rows:  # together they are smaller
        scatter(connection)
        rows = connection.execute(_STORED).fetchall()
    if len(rows) < FEWEST:
        return
    unpacker = _codec(connection)
    some: list[_Member] = []
    many = 0
    for number, request, times, answer, recorded_at in rows:
        unpacker.row = "bundled", number
        codes, frame = codec.split(answer)
        plain = _Plain(unpacker.expand(request), times, codes, unpacker.expand(frame))
        if max(map(len, plain)) > LONGEST_PLAIN:
            continue
        ticks = unpacker.unpack_times(times) if thorough else []
        some.append(_Member(number, plain, recorded_at // TICK, ticks))
        many += len(ticks)
        if len(some) == MOST or many >= MOST_TIMES or any(sum(map(len, column)) >= BUNDLE for column in _columns(some)):
            _put(connection, some, thorough=thorough)
            some, many = [], 0
    if some:
        _put(connection, some, thorough=thorough)
    connection.execute(_NEEDLESS)


class _Member(NamedTuple):
    """An exchange that is put into a bundle: its start and its times in ticks."""

    number: int
    plain: _Plain
    start: int
    ticks: Sequence[int]


def _columns(some: Sequence[_Member]) -> list[tuple[bytes, ...]]:
    return list(zip(*(member.plain for member in some), strict=True))


def _put(connection: sqlite3.Connection, some: Sequence[_Member], *, thorough: bool) -> None:
    numbers, columns = [member.number for member in some], _columns(some)
    steps = [0, *(after - before for before, after in pairwise(numbers))]
    sizes = [[len(part) for part in column] for column in columns]
    requests, times, codes, answers = map(b"".join, columns)
    packed = (
        joint_times.pack([member.start for member in some], [member.ticks for member in some]) if thorough else None
    )
    if packed is not None and len(packed.bits) + len(msgpack.packb(packed.shape)) < len(times):
        times, sizes[1] = packed.bits, [len(member.ticks) for member in some]
    else:
        packed = None
    (of_requests, requests), (of_answers, answers) = (
        bundled.squeezed(plain, thorough=thorough) for plain in (requests, answers)
    )
    layout = msgpack.packb([steps, *sizes, [of_requests, of_answers], None if packed is None else packed.shape])
    connection.execute(
        "INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?)",
        (numbers[0], codec.squeezed(layout), requests, times, codes, answers),
    )
    for table in ("answer", "payload"):
        connection.executemany(f"DELETE FROM {table} WHERE exchange = ?", ((number,) for number in numbers))


def scatter(connection: sqlite3.Connection) -> None:
    """Give every payload its own row again. Raises `Damaged`."""
    packer = _codec(connection)
    bundles = Bundles(lambda sql, *parameters: connection.execute(sql, parameters).fetchone(), packer)
    for (first,) in connection.execute("SELECT id FROM bundle ORDER BY id").fetchall():
        bundle = bundles.holding(first)
        if bundle is None:
            raise Damaged(f"stored bundle {first} is longer than any is, or does not hold exchange {first}")
        for number in bundle.numbers:
            request, times, codes, answer = bundle.plain(number)
            answer = codec.behind(codes, packer.squeeze("answer", answer))
            try:
                row = number, packer.squeeze("request", request), times
                connection.execute("INSERT INTO payload VALUES (?, ?, ?)", row)
                connection.execute("INSERT INTO answer VALUES (?, ?)", (number, answer))
            except sqlite3.IntegrityError as error:
                raise Damaged(f"stored bundle {first} holds exchange {number}, {_WRONG}") from error
    connection.execute("DELETE FROM bundle")


_WRONG = "which is not there or has a payload of its own"


def _codec(connection: sqlite3.Connection) -> Codec:
    """One that knows the dictionaries of the file, with a budget of its own: the file may be a stranger's."""

    def fetch(number: int) -> tuple[Kind, bytes] | None:
        row = connection.execute("SELECT kind, content FROM dictionary WHERE id = ?", (number,)).fetchone()
        return row if row is not None and isinstance(row[0], str) and isinstance(row[1], bytes) else None

    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    return Codec(fetch, Budget("the cassette", size))
