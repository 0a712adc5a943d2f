"""Read one cassette. Opening costs the same for a hundred and for a million exchanges; nothing is loaded that was not
asked for, and nothing is handed out whose digest does not hold.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from operator import itemgetter
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakValueDictionary

from replayproxy.cassette import database, schema
from replayproxy.cassette.bundles import Bundle, Packed
from replayproxy.cassette.coding import codec
from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.coding.times import timeline_of
from replayproxy.cassette.readers import Reader, Readers
from replayproxy.errors import CassetteError, Damaged, SettingsError
from replayproxy.model import (
    KEY_TAG,
    Ending,
    Exchange,
    Key,
    Leg,
    RecordingRef,
    Request,
    Response,
    Timeline,
    is_playable,
)

# Imported where they are used: `ls` and its like read rows, without a loop, rules or JSON (tests/cli/test_imports.py).
if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from replayproxy.core.identity.rules import Matcher, MatchRules
    from replayproxy.core.redaction import Redactor
    from replayproxy.ports import Neighbour

T = TypeVar("T")

MOST_LISTED = 10_000
"""Recordings among which those of preflights are looked for."""

REMEMBERED = 64 * 1024 * 1024
"""Bytes of unpacked answers that are kept for the next time they are asked for."""

MANY = 100_000
"""Keys whose number of answers is remembered: 20 MB."""

LONG = 256 * 1024
"""Bytes; a longer answer is unpacked in a thread, so that it delays no other stream."""

MAX_SKETCHES = 64 * 1024 * 1024
"""Bytes of sketches that are kept for the next miss: those of three million recordings."""

WARMING = 16
"""Answers that are unpacked before anybody asks."""


def key_bytes(key: Key) -> bytes:
    """A key as it is stored."""
    return bytes.fromhex(key.partition(":")[2])


def key_text(stored: bytes) -> Key:
    """A stored key, as it is everywhere else."""
    return f"{KEY_TAG}:{stored.hex()}"


_ENDINGS = frozenset(Ending)

_KINDS: Mapping[str, type | UnionType] = {
    **dict.fromkeys(("number", "stream", "status", "request_size", "response_size", "chunks", "stalled", "legs"), int),
    **dict.fromkeys(("id", "key", "recorded_at", "method", "path", "state", "scope"), str),
    **dict.fromkeys(("client_left", "request_cut", "opaque"), int),
    **dict.fromkeys(("model", "ending", "finish", "transfer"), str | None),
    **dict.fromkeys(("occurrence", "prompt_tokens", "completion_tokens", "cached_tokens"), int | None),
    **dict.fromkeys(("ttft_s", "total_s", "tpot_s"), float | None),
    "starved_s": float,
}
"""Of the columns of `v_exchange`."""


@dataclass(slots=True)
class _Endpoint:
    """The sketches of the recordings of one endpoint, 12 bytes each, and their numbers."""

    numbers: array[int]
    sketches: bytes
    versions: dict[int, int]
    """By reader, the version of the file of which it knows that this holds."""


class CassetteReader:
    """One cassette, open for reading; a `Shelf`. Use it as a context manager, or `close` it."""

    def __init__(
        self, path: Path, *, allow_incomplete: bool = False, spares: int = 0, abandoned: bool | None = None
    ) -> None:
        """`spares`: connections that are opened now for threads that read later (`readers`). `abandoned`: nobody
        records on it, though somebody may hold its lock; None: find out."""
        self.path = path
        self._name = str(path)
        self._readers = Readers(path, self._dictionary, spares=spares, abandoned=abandoned)
        self._remembered: OrderedDict[RecordingRef, Response] = OrderedDict()
        self._remembered_bytes = 0
        # However many clients are sent a long answer at the same time, it is unpacked once and held once: 200 clients
        # of an answer of 20 MB, which is too long to be remembered, had 4 GB.
        self._played: WeakValueDictionary[RecordingRef, Response] = WeakValueDictionary()
        self._unpacking: dict[RecordingRef, asyncio.Future[tuple[Request, Response]]] = {}
        self._places = "exchange"
        # Nobody records on it now: what was counted once need not be counted again. (A look-up is a fifth of a replay.)
        self._sealed = not Path(f"{path}-wal").exists()
        self._counts: dict[Key, int] = {}
        self._order: OrderedDict[Key, list[int]] = OrderedDict()
        self._looking = threading.Lock()
        self._endpoints: OrderedDict[tuple[str, str], _Endpoint] = OrderedDict()
        self._endpoints_bytes = 0
        self._newest = 0
        self._allow_incomplete = allow_incomplete
        self._spares = spares
        try:
            (self._newest,) = typed(self._must("SELECT coalesce(max(id), 0) FROM exchange"), int)
            if allow_incomplete or self._places_are_missing():
                self._number_places(lambda _, key: key)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._readers.close()

    def reopened(self, path: Path) -> CassetteReader:
        """The same cassette, whose file is found at this path now. This one stays open."""
        other = CassetteReader(path, allow_incomplete=self._allow_incomplete, spares=self._spares)
        other._newest = self._newest
        return other

    # What it says about itself

    @property
    def meta(self) -> Mapping[str, Any]:
        """Who made it, by which rules."""
        import orjson

        rows = self.all("SELECT name, value FROM meta")
        try:
            return {name: orjson.loads(value) for name, value in (typed(row, str, str) for row in rows)}
        except orjson.JSONDecodeError as error:
            raise Damaged(f"what {self._name} says of itself cannot be read: {error}") from error

    @property
    def rules(self) -> MatchRules:
        """The rules its keys were made by."""
        from replayproxy.core.identity.rules import MatchRules

        stored = self.meta.get("match")
        if stored is None:  # its recorder died before it had begun
            return MatchRules()
        try:
            return MatchRules.of(stored)
        except ValueError as error:
            raise Damaged(
                f"{self._name} does not say by which match rules it was recorded ({error}): restore it from a copy"
            ) from error

    @property
    def redactor(self) -> Redactor | None:
        """What its secrets were masked by; None where it is older than that, or its recorder died at once."""
        match self.meta.get("redaction"):
            case None:
                return None
            case {"salt": str(salt), "rules": [*rules]} if all(isinstance(rule, str) for rule in rules):
                from replayproxy.core.redaction import Redactor

                with suppress(ValueError, SettingsError):
                    return Redactor(bytes.fromhex(salt)[:64], rules)
        raise Damaged(f"{self._name} does not say how its secrets were masked: restore it from a copy")

    def use_rules(self, matcher: Matcher) -> None:
        """Find recordings by other rules than their own: derives every key again, in memory."""
        self._number_places(lambda number, _: key_bytes(matcher.key(self.request(number))))

    @cached_property
    def _checked(self) -> schema.Checked:
        with database.translated(self._name):
            return schema.check(self._readers.mine(), self._name)

    @property
    def stored(self) -> schema.Format:
        """The format in which it was written."""
        return schema.format_of(self._readers.mine())

    @property
    def foreign(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of what somebody else has added to the file, which nothing here looks at."""
        return self._checked.foreign

    def _places_are_missing(self) -> bool:
        """Format 1 gave none to an answer whose client had left."""
        left = f"SELECT count(*) FROM exchange WHERE ending = {int(Ending.CLIENT_LEFT)} AND status > 0"
        return self.stored.number == 1 and typed(self._must(left), int)[0] > 0

    def _number_places(self, key_of: Callable[[int, bytes], bytes]) -> None:
        """Places of our own, in memory, by the time of asking. What may not be played has a key there too, and no
        occurrence."""
        seen = Counter[bytes]()
        rows = []
        for row in self._rows(
            "SELECT id, key, occurrence, status, ending, request_cut FROM exchange WHERE state = 1"
            " ORDER BY recorded_at, id"
        ):
            number, stored, occurrence, status, ending, request_cut = typed(
                row, int, bytes, int | None, int, int, int | None
            )
            key = key_of(number, stored)
            allowed = (
                status > 0 if self._allow_incomplete else ending in _ENDINGS and is_playable(status, Ending(ending))
            )
            playable = occurrence is not None or (allowed and not request_cut)
            rows.append((number, key, seen[key] if playable else None))
            seen[key] += playable
        self._readers.share(
            "CREATE TABLE place (id INTEGER, key BLOB, occurrence INTEGER, state DEFAULT 1, UNIQUE (key, occurrence))",
            "INSERT INTO place (id, key, occurrence) VALUES (?, ?, ?)",
            rows,
        )
        self._places = "places.place"
        self._counts.clear()
        self._order.clear()
        self._remembered.clear()
        self._played.clear()
        self._remembered_bytes = 0

    # Shelf

    def count(self, key: Key) -> int:
        """How many playable answers there are."""
        if (cached := self._counts.get(key)) is not None:
            return cached
        row = self._must(f"SELECT max(occurrence) FROM {self._places} WHERE key = ?", key_bytes(key))
        (last,) = typed(row, int | None)
        count = 0 if last is None else last + 1
        if self._sealed and len(self._counts) < MANY:
            self._counts[key] = count
        elif not self._sealed:
            return len(self._steady(key, count))
        return count

    def _steady(self, key: Key, count: int | None = None) -> list[int]:
        """The numbers of the playable answers to a key, each at the place at which it was first seen here.

        While somebody records, an answer that was asked for earlier and ends later moves others up in the file. Who
        has been given place 0 would then be given the same recording again at place 1: so a place keeps its meaning
        for as long as the cassette is open, and what comes stands behind. `count`: how many there are, where known.
        """
        cached = self._order.get(key, [])
        if len(cached) != count:
            sql = f"SELECT id FROM {self._places} WHERE key = ? AND occurrence IS NOT NULL ORDER BY occurrence"
            there = [typed(row, int)[0] for row in self.all(sql, key_bytes(key))]
            # What is gone stays where it was, for the others to stay where they are.
            cached = [*cached, *(number for number in there if number not in cached)]
        if cached:
            self._order[key] = cached
            self._order.move_to_end(key)
            if len(self._order) > MANY:
                self._order.popitem(last=False)
        return cached

    def _number_at(self, place: RecordingRef) -> int | None:
        """The number of the recording at a place of a cassette that somebody may be recording on."""
        numbers = self._order.get(place.key, [])
        if place.occurrence >= len(numbers):
            numbers = self._steady(place.key)
        return numbers[place.occurrence] if 0 <= place.occurrence < len(numbers) else None

    def count_broken(self, key: Key) -> int:
        """How many answers had broken."""
        row = self._must(
            f"SELECT count(*) FROM {self._places} AS place JOIN exchange USING (id) WHERE place.key = ?"
            " AND place.occurrence IS NULL AND exchange.state = 1 AND exchange.request_cut IS NULL",
            key_bytes(key),
        )
        return int(row[0])

    def count_cut(self, method: str, path: str) -> int:
        """How many recordings of this endpoint have a request that was not read to its end."""
        row = self._must(
            "SELECT count(*) FROM exchange WHERE state = 1 AND request_cut = 1"
            " AND endpoint IN (SELECT id FROM endpoint WHERE method = ? AND path = ?)",
            *(method, path),
        )
        return int(row[0])

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """The occurrence that was recorded with this hand-over from prefill to decode."""
        row = self._row(
            f"SELECT place.id, place.occurrence FROM {self._places} AS place JOIN exchange USING (id)"
            " WHERE place.key = ? AND place.occurrence IS NOT NULL AND exchange.transfer = ? LIMIT 1",
            *(key_bytes(key), transfer),
        )
        if row is None:
            return None
        number, occurrence = typed(row, int, int)
        return int(occurrence if self._sealed else self._steady(key).index(number))

    def state_bytes(self) -> dict[str, int]:
        """About how much memory is kept for coming requests, by kind."""
        return {
            "answers": self._remembered_bytes,
            "counts": 200 * (len(self._counts) + len(self._order)) + 32 * sum(map(len, self._order.values())),
            "sketches": self._endpoints_bytes,
        }

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Call what reads for long in a thread, which gets a connection of its own."""
        import asyncio

        return await asyncio.to_thread(function, *arguments)

    async def read(self, place: RecordingRef, aside: Executor | None = None) -> Response:
        """The answer at this place, whole and checked. A long one is unpacked in a thread of `aside`."""
        cached = self._remembered.get(place)
        if cached is not None:
            self._remembered.move_to_end(place)
            return cached
        if (cached := self._played.get(place)) is not None:
            return cached
        found = (
            "SELECT id, key, occurrence, response_size, EXISTS (SELECT 1 FROM leg WHERE leg.exchange = exchange.id)"
            " FROM exchange WHERE id ="
        )
        if self._sealed:
            row = self._row(
                f"{found} (SELECT id FROM {self._places} WHERE key = ? AND occurrence = ?)",
                *(key_bytes(place.key), place.occurrence),
            )
        else:
            row = self._row(f"{found} ?", self._number_at(place))
        if row is None:
            raise Damaged(f"{self._name} has no recording {place.occurrence} of {place.key}")
        number, key, occurrence, size, has_legs = typed(row, int, bytes, int | None, int, int)
        expected = key_bytes(place.key), place.occurrence if self._sealed else occurrence
        if self._places == "exchange" and (key, occurrence) != expected:
            raise Damaged(f"the index of {self._name} takes recording {number} for another one: restore it from a copy")
        if size > LONG or has_legs:
            request, response = await self._unpacked(place, number, aside)
        else:
            request, response = self._whole(number)
        from replayproxy.core.answers import check_answer

        # A digest says who wrote it last, not that it is an answer: the file may come from anywhere.
        check_answer(request.method, response, f"recording {number} in {self._name}")
        self._remember(place, response)
        self._played[place] = response
        return response

    async def _unpacked(self, place: RecordingRef, number: int, aside: Executor | None) -> tuple[Request, Response]:
        """Unpack a long answer in a thread; further requests for the same one wait for it."""
        import asyncio

        unpacking = self._unpacking.get(place)
        if unpacking is None:
            unpacking = asyncio.get_running_loop().run_in_executor(aside, self._whole_pair, number)
            self._unpacking[place] = unpacking

            def done(unpacked: asyncio.Future[tuple[Request, Response]]) -> None:
                del self._unpacking[place]
                if not unpacked.cancelled():
                    unpacked.exception()  # its requests may have been cancelled

            unpacking.add_done_callback(done)
        return await asyncio.shield(unpacking)  # one that leaves does not end it for the others

    def warm_up(self) -> None:
        """Unpack a few answers, so that the first one that is asked for does not wait for tables to be made: 3 ms."""
        few = "SELECT id FROM exchange WHERE occurrence IS NOT NULL AND response_size <= ? ORDER BY id LIMIT ?"
        with suppress(CassetteError):  # the request for it will report it
            for row in self.all(few, LONG, WARMING):
                self.response(*typed(row, int))

    def _remember(self, place: RecordingRef, response: Response) -> None:
        if len(response.body) > REMEMBERED // 4 or place in self._remembered:
            return
        self._remembered[place] = response
        self._remembered_bytes += 2 * len(response.body)  # once more for its framed form
        while self._remembered_bytes > REMEMBERED:
            _, forgotten = self._remembered.popitem(last=False)
            self._remembered_bytes -= 2 * len(forgotten.body)

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """Recordings of this endpoint whose sketch is most alike, best first."""
        from replayproxy.core.identity.sketch import alike

        with self._looking:
            numbers, sketches = self._sketches(method, path)
            positions = alike(sketches, sketch, limit)
            return [self._neighbour(numbers[position]) for position in positions]

    def _sketches(self, method: str, path: str) -> tuple[array[int], bytes]:
        """Read once, and again when something has been recorded: 30 ms for 100 000."""
        cached = self._endpoints.get((method, path))
        # The number that SQLite gives means something to the connection that asked for it alone.
        mine, (latest,) = self._readers.mine(), typed(self._must("PRAGMA data_version"), int)
        if cached is not None and (self._sealed or cached.versions.get(id(mine)) == latest):
            self._endpoints.move_to_end((method, path))
            return cached.numbers, cached.sketches
        # As two texts: 100 000 rows of Python's would take three times as long.
        row = self._must(
            "SELECT coalesce(group_concat(id), ''), coalesce(group_concat(hex(sketch), ''), '') FROM exchange"
            " WHERE sketch IS NOT NULL AND endpoint IN (SELECT id FROM endpoint WHERE method = ? AND path = ?)",
            *(method, path),
        )
        texts = typed(row, str, str)
        from replayproxy.core.identity.sketch import SIZE

        if len(texts[1]) != 2 * SIZE * (texts[0].count(",") + bool(texts[0])):
            raise Damaged(f"{self._name} holds a sketch of another size: restore it from a copy")
        numbers, sketches = array("q", map(int, filter(None, texts[0].split(",")))), bytes.fromhex(texts[1])
        if cached is not None and (cached.numbers, cached.sketches) == (numbers, sketches):
            cached.versions[id(mine)] = latest
        elif numbers:  # paths that nothing was recorded at are without number: none of them is kept
            self._forget_sketches((method, path))
            self._endpoints[method, path] = _Endpoint(numbers, sketches, {id(mine): latest})
            self._endpoints_bytes += 20 * len(numbers)
            while self._endpoints_bytes > MAX_SKETCHES and len(self._endpoints) > 1:
                self._forget_sketches(next(iter(self._endpoints)))
        return numbers, sketches

    def _forget_sketches(self, endpoint: tuple[str, str]) -> None:
        cached = self._endpoints.pop(endpoint, None)
        if cached is not None:
            self._endpoints_bytes -= 20 * len(cached.numbers)

    def _neighbour(self, number: int) -> Neighbour:
        from replayproxy.ports import Neighbour

        row = self._must("SELECT digest, status, completion_tokens, finish FROM exchange WHERE id = ?", number)
        digest, status, tokens, finish = typed(row, bytes, int, int | None, str | None)
        return Neighbour(self._name, digest[:4].hex(), self.request(number), status, tokens, finish)

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """How many different requests have an answer that can be played, and how many of these at this endpoint."""
        with self._looking:
            (every,) = typed(self._must("SELECT count(*) FROM exchange WHERE occurrence = 0"), int)
            return every, len(self._sketches(method, path)[0])

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """The meta entries, and the names of the models that occur."""
        rows = self._rows("SELECT DISTINCT model FROM endpoint WHERE model IS NOT NULL ORDER BY model")
        return [self.meta], [name for row in rows for name in typed(row, str)]

    def some(self, limit: int) -> list[RecordingRef]:
        """At most so many recordings that can be played, those of preflights first."""
        listed = [(method != "OPTIONS", place) for place, _, method, _ in islice(self.playable(), MOST_LISTED)]
        return [place for _, place in sorted(listed, key=itemgetter(0))[:limit]]

    # One exchange, by its number

    def request(self, number: int) -> Request:
        """The client's request."""
        row = self._must(
            "SELECT method, path, payload.request FROM exchange JOIN endpoint ON endpoint.id = exchange.endpoint"
            " LEFT JOIN payload ON payload.exchange = exchange.id WHERE exchange.id = ?",
            number,
        )
        if row[2] is None:
            row = *row[:2], self._bundled(number).request
        method, path, count_of_endpoint = typed(row, str, str, bytes)
        return self.codec_of(number).unpack_request(count_of_endpoint, method, path)

    def response(self, number: int) -> Response:
        """What the client got. Raises `Damaged` unless it is byte for byte what was written."""
        return self._whole(number)[1]

    def _whole(self, number: int) -> tuple[Request, Response]:
        row = self._must(
            "SELECT key, method, path, status, ending, response_size, digest, request, answer, times, state"
            " FROM exchange JOIN endpoint ON endpoint.id = exchange.endpoint"
            " LEFT JOIN payload ON payload.exchange = exchange.id"
            " LEFT JOIN answer ON answer.exchange = exchange.id WHERE exchange.id = ?",
            number,
        )
        if row[7] is None:
            packed = self._bundled(number)
            row = *row[:7], packed.request, packed.answer, packed.times, row[10]
        if row[8:10] == (None, b"") and (row[10] == 0 or row[4] == Ending.PROXY_CRASHED):
            return self.request(number), self._so_far(number)
        key, method, path, status, ending, size, written, count_of_endpoint, answer, times = typed(
            row[:10], bytes, str, str, int, int, int, bytes, bytes, bytes, bytes
        )
        unpacker = self.codec_of(number)
        request = unpacker.unpack_request(count_of_endpoint, method, path)
        response = unpack_response(unpacker, status, answer, times, size=size, ending=ending)
        if codec.digest(key_text(key), request, response) != written:
            raise Damaged(f"recording {number} in {self._name} is not what was written (its digest differs)")
        return request, response

    def _whole_pair(self, number: int) -> tuple[Request, Response]:
        """With its legs, if it has any: no client gets them, but what is on record of a pair is one recording, and a
        run that has played it is to prove that it was what was written."""
        whole = self._whole(number)
        for _ in self._legs(number):
            pass
        return whole

    def _bundled(self, number: int) -> Packed:
        """What is stored of an exchange that has no payload of its own."""
        with database.translated(self._name):
            packed = self._readers.mine().bundles.find(number) if self.stored.number > 1 else None
        if packed is None:
            raise CassetteError(f"{self._name} has no such recording: {(number,)}")
        return packed

    def bundles(self) -> Iterator[Bundle]:
        """All of them, for who checks the file. Raises `Damaged`."""
        for row in self.all("SELECT id FROM bundle ORDER BY id") if self.stored.number > 1 else ():
            (first,) = typed(row, int)
            with database.translated(self._name):
                bundle = self._readers.mine().bundles.holding(first)
            if bundle is None:
                raise Damaged(f"stored bundle {first} in {self._name} is longer than any is")
            yield bundle

    def stored_sizes(self, number: int) -> tuple[int, int, int]:
        """Bytes of what is stored of the request, the answer and the times of an exchange."""
        row = self._row(
            "SELECT length(request), coalesce(length(answer), 0), length(times) FROM payload"
            " LEFT JOIN answer USING (exchange) WHERE exchange = ?",
            number,
        )
        if row is None:
            self._bundled(number)
            bundle = self._readers.mine().bundles.holding(number)
            return (0, 0, 0) if bundle is None else bundle.sizes(number)
        count_of_endpoint, answer, times = typed(row, int, int, int)
        return count_of_endpoint, answer, times

    def _so_far(self, number: int) -> Response:
        """A stream in flight, as far as it was written: all that its recorder has left of it, if that has died."""
        stored = self.all("SELECT heard FROM segment WHERE exchange = ? ORDER BY position", number)
        if not stored:
            raise Damaged(f"recording {number} in {self._name} has lost its answer: restore it from a copy")
        from replayproxy.cassette.recovering import cut_at_last, joined

        return cut_at_last(*joined(self.codec_of(number), stored, number))

    def exchange(self, number: int) -> Exchange:
        """Everything about one exchange."""
        row = self._must(
            "SELECT recorded_at, scope, stalled, request_cut, client_left, starved_us FROM exchange WHERE id = ?",
            number,
        )
        recorded_at, scope, stalled, request_cut, client_left, starved = typed(
            row, int, str | None, int | None, int | None, int | None, int | None
        )
        request, response = self._whole(number)
        return Exchange(
            request=request,
            response=response,
            recorded_at=recorded_at,
            legs=tuple(self._legs(number)),
            scope=scope or "",
            stalled=stalled or 0,
            starved=1000 * (starved or 0),
            request_cut=bool(request_cut),
            client_left=bool(client_left),
        )

    def _legs(self, number: int) -> Iterator[Leg]:
        rows = self._rows(
            "SELECT role, upstream, method, path, leg.status, leg.ending, started_us, leg.digest, key, request, answer,"
            " times FROM leg JOIN exchange ON exchange.id = leg.exchange WHERE exchange.id = ? ORDER BY leg",
            number,
        )
        for leg_number, row in enumerate(rows, 1):
            role, upstream, method, path, status, ending, started, written, key, count_of_endpoint, answer, times = (
                typed(row, str, str, str, str, int, int, int, bytes, bytes, bytes, bytes, bytes)
            )
            unpacker = self.codec_of("leg", number, leg_number)
            request = unpacker.unpack_request(count_of_endpoint, method, path)
            response = unpack_response(unpacker, status, answer, times, size=None, ending=ending)
            leg = Leg(role, upstream, request, response, started * 1000)
            if codec.digest_of_leg(key_text(key), leg) != written:
                raise Damaged(f"the {role} leg of recording {number} in {self._name} is not what was written")
            yield leg

    def codec_of(self, *row: object) -> Codec:
        """This thread's, for what stands in this row: the only one that has the file's dictionaries and its budget."""
        unpacker = self._readers.mine().codec
        unpacker.row = row
        return unpacker

    def fresh_codec(self) -> Codec:
        """One that knows no dictionary, with the same budget."""
        return Codec(budget=self._readers.budget)

    def _dictionary(self, reader: Reader, number: int) -> tuple[codec.Kind, bytes] | None:
        with database.translated(self._name):
            row = reader.first("SELECT kind, content FROM dictionary WHERE id = ?", (number,))
        if row is None:
            return None
        kind, content = typed(row, str, bytes)
        return kind, content

    # Many exchanges

    def places(self) -> Iterator[tuple[int, RecordingRef, str]]:
        """Everything that can be replayed: its number, its place, its short id; oldest first."""
        rows = self.all(
            f"SELECT id, place.key, place.occurrence, exchange.digest FROM {self._places} AS place JOIN exchange"
            " USING (id) WHERE place.occurrence IS NOT NULL ORDER BY id"
        )
        for row in rows:
            number, key, occurrence, digest = typed(row, int, bytes, int, bytes)
            yield number, RecordingRef(key_text(key), occurrence), digest[:4].hex()

    def playable(self, *, new: bool = False) -> Iterator[tuple[RecordingRef, str, str, str]]:
        """Everything that can be replayed: its place, short id, method and path; oldest first.

        `new`: only what has been recorded since this was opened.
        """
        rows = self._rows(
            f"SELECT id, place.key, place.occurrence, exchange.digest, method, path FROM {self._places} AS place"
            " JOIN exchange USING (id) JOIN (SELECT id AS endpoint, method, path FROM endpoint) USING (endpoint)"
            " WHERE place.occurrence IS NOT NULL AND id > ? ORDER BY id",
            self._newest if new else -1,
        )
        for row in rows:
            number, stored, occurrence, digest, method, path = typed(row, int, bytes, int, bytes, str, str)
            key = key_text(stored)
            if number in (steady := self._order.get(key, ())):
                occurrence = steady.index(number)
            yield RecordingRef(key, occurrence), digest[:4].hex(), method, path

    def find(self, prefix: str) -> list[int]:
        """The numbers of the exchanges whose short id begins so."""
        rows = self._rows(
            "SELECT id FROM exchange WHERE digest IS NOT NULL AND lower(hex(digest)) GLOB ? LIMIT 9",
            f"{prefix.lower()}*",
        )
        return [row[0] for row in rows]

    def rows(
        self,
        where: str = "1",
        parameters: Mapping[str, Any] | None = None,
        *,
        columns: str = "*",
        order: str = "recorded_at, number",
        limit: int = -1,
    ) -> Iterator[dict[str, Any]]:
        """Rows of `v_exchange`. `where`, `columns` and `order` are SQL of whoever sits at the keyboard; the file is
        read-only. Raises `SettingsError` for SQL that cannot be run."""
        with self._user_sql():
            reader = self._readers.mine()
            cursor = reader.execute(
                f"SELECT {columns} FROM v_exchange WHERE {where} ORDER BY {order} LIMIT {limit:d}", parameters or {}
            )
            names = [column[0] for column in cursor.description]
            kinds = [_KINDS.get(name, object) for name in names]
            while some := reader.some(cursor):
                for row in some:
                    yield dict(zip(names, typed(row, *kinds), strict=True))

    def row(self, number: int) -> dict[str, Any]:
        """The row of `v_exchange` of this exchange. Raises `Damaged` where the view has lost it."""
        found = next(self.rows("number = :number", {"number": number}), None)
        if found is None:  # its endpoint is not there, for example
            raise Damaged(f"exchange {number} in {self._name} refers to something that is not there: restore it")
        return found

    def timelines(
        self, where: str = "1", parameters: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[int, Timeline]]:
        """The numbers of finished exchanges, chosen as in `rows`, with their times. Unpacks no bodies: 0.2 ms for 150
        chunks. Nothing is checked by digest."""
        with self._user_sql():
            reader = self._readers.mine()
            packed = reader.execute(
                "SELECT number, (SELECT times FROM payload WHERE payload.exchange = v_exchange.number) FROM v_exchange"
                f" WHERE state = 'done' AND ({where})",
                parameters or {},
            )
            while some := reader.some(packed):
                for row in some:
                    number, times = typed(row, int, bytes | None)
                    if times is None:
                        times = self._bundled(number).times
                    if not times:
                        yield number, self._so_far(number).timeline
                        continue
                    ticks = reader.codec.unpack_times(times)
                    if len(ticks) < 2:
                        raise Damaged(f"recording {number} in {self._name} has no times")
                    yield number, timeline_of(ticks)

    @contextmanager
    def _user_sql(self) -> Iterator[None]:
        """Run SQL that a user wrote: its errors are reported as errors of the SQL, not of the file."""
        try:
            with database.translated(self._name):
                try:
                    yield
                except sqlite3.OperationalError as error:
                    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
                        raise
                    raise self._not_sql(error) from error
                except sqlite3.ProgrammingError as error:  # a :name without a value
                    raise self._not_sql(error) from error
        except sqlite3.Warning as error:  # two statements, until Python 3.12
            raise self._not_sql(error) from error

    def _not_sql(self, error: Exception) -> SettingsError:
        names = [column[0] for column in self._readers.mine().execute("SELECT * FROM v_exchange LIMIT 0").description]
        what = str(error).rstrip(".")
        if what.startswith("no such column: "):
            from difflib import get_close_matches

            close = get_close_matches(what.rpartition(" ")[2], names, 1)
            what += f" (did you mean {close[0]}?)" if close else ""
        return SettingsError(f"this SQL cannot be run: {what}. The columns are {', '.join(names)}.")

    def check_condition(self, where: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Raise `SettingsError` unless `where` is a condition on `v_exchange` by itself: what SQLite says of it then
        is said of its own words, and not of those among which `rows` puts it."""
        with self._user_sql():
            self._readers.mine().execute(f"EXPLAIN SELECT 1 FROM v_exchange WHERE {where}", parameters or {})

    def select(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of a query that has a condition of the user's in it. Raises `SettingsError` for SQL that cannot run."""
        with self._user_sql():
            reader = self._readers.mine()
            cursor = reader.execute(sql, parameters)
            while some := reader.some(cursor):
                yield from some

    def one(self, sql: str, *parameters: object) -> Sequence[Any]:
        """One row of a query that always gives one."""
        return self._must(sql, *parameters)

    def all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return list(self._rows(sql, *parameters))

    def _rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        with database.translated(self._name):
            reader = self._readers.mine()
            cursor = reader.execute(sql, parameters)
            while some := reader.some(cursor):
                yield from some

    def _row(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        with database.translated(self._name):
            return self._readers.mine().first(sql, parameters)

    def _must(self, sql: str, *parameters: object) -> tuple[Any, ...]:
        row = self._row(sql, *parameters)
        if row is None:
            raise CassetteError(f"{self._name} has no such recording: {parameters}")
        return row


def typed(row: Sequence[Any], *kinds: type | UnionType) -> Sequence[Any]:
    """A row, each column of its kind: STRICT binds who writes, not what a damaged page says."""
    for value, kind in zip(row, kinds, strict=True):
        if not isinstance(value, kind):
            raise Damaged(f"a stored {type(value).__name__} stands where there are none")
    return row


def unpack_response(
    unpacker: Codec, status: int, answer: bytes, times: bytes, *, size: int | None, ending: int
) -> Response:
    """A response from its frames. Raises `Damaged`."""
    unpacked = unpacker.unpack_answer(answer, size)
    try:
        ended = Ending(ending)
    except ValueError as error:
        raise Damaged(f"a stored answer ended in a way that does not exist ({ending})") from error
    return codec.response_of(status, unpacked, unpacker.unpack_times(times), ended)
