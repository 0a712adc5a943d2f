"""Read one cassette. Opening costs the same for a hundred and for a million exchanges; nothing is loaded before it is
needed, and nothing is returned whose digest does not hold.

    key, occurrence ──▶ Occurrences ──▶ number ──▶ StoredExchanges ──▶ UnpackedAnswers ──▶ Response
    a miss          ──▶ SketchIndex ──▶ numbers
    ls, show, stats ──▶ Queries (rows of v_exchange)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from replayproxy.cassette import database, large_indexes, schema
from replayproxy.cassette.bundles import Bundle
from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.near_recordings import SketchIndex
from replayproxy.cassette.occurrences import Occurrences
from replayproxy.cassette.queries import Queries, typed
from replayproxy.cassette.readers import Readers
from replayproxy.cassette.stored_exchanges import StoredExchanges, stored_dictionary
from replayproxy.cassette.stored_keys import digests_from, key_bytes
from replayproxy.cassette.unpacked_answers import UnpackedAnswers
from replayproxy.errors import CassetteError, Damaged, SettingsError
from replayproxy.model import Ending, Exchange, Key, RecordingRef, Request, Response, Timeline

# Imported where they are used: `ls` and its like read rows, without a loop, rules or JSON (tests/cli/test_imports.py).
if TYPE_CHECKING:
    from concurrent.futures import Executor

    from replayproxy.core.identity.rules import Matcher, MatchRules
    from replayproxy.core.redaction import Redactor
    from replayproxy.core.server_state import RecordedFacts
    from replayproxy.ports import Neighbour

T = TypeVar("T")

LONG = 256 * 1024
"""Bytes; a longer answer is unpacked in a thread, so that it delays no other stream."""

WARMING = 16
"""Answers that are unpacked before the first request."""


class CassetteReader:
    """One cassette, open for reading. Use it as a context manager, or `close` it."""

    def __init__(
        self, path: Path, *, allow_incomplete: bool = False, spares: int = 0, abandoned: bool | None = None
    ) -> None:
        """Open the file. Raises `CassetteError`.

        `spares`: connections that are opened now for threads that read later (`readers`). `abandoned`: nobody records
        on it, though somebody may hold its lock; None: find out.
        """
        self.path = path
        self._name = str(path)
        self._allow_incomplete = allow_incomplete
        self._spares = spares
        sealed = not Path(f"{path}-wal").exists()
        self._readers = Readers(path, partial(stored_dictionary, self._name), spares=spares, abandoned=abandoned)
        self._queries = Queries(self._name, self._readers)
        self._answers = UnpackedAnswers()
        self._sketches = SketchIndex(self._queries, self._readers, sealed=sealed)
        try:
            self._exchanges = StoredExchanges(self._queries, self._readers, has_bundles=self.stored.number > 1)
            self._occurrences = Occurrences(
                self._queries, self._readers, sealed=sealed, allow_incomplete=allow_incomplete
            )
            if allow_incomplete or self._lacks_occurrences():
                self._occurrences.number()
            elif sealed and not large_indexes.has_place(self._readers.mine()):
                self._occurrences.index()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def interrupt(self, thread: int) -> None:
        """End the statement that another thread runs here: it raises `CassetteError`."""
        self._readers.interrupt(thread)

    def close(self) -> None:
        """Let go of the file."""
        self._readers.close()

    def reopened(self, path: Path) -> CassetteReader:
        """Return the same cassette, whose file is found at this path now. This one stays open."""
        other = CassetteReader(path, allow_incomplete=self._allow_incomplete, spares=self._spares)
        other._occurrences.forget_new(self._occurrences)
        return other

    # The cassette itself

    @property
    def meta(self) -> Mapping[str, Any]:
        """By which program and rules it was made, and other facts. Raises `Damaged`."""
        import orjson

        rows = self.all("SELECT name, value FROM meta")
        try:
            return {name: orjson.loads(value) for name, value in (typed(row, str, str) for row in rows)}
        except orjson.JSONDecodeError as error:
            raise Damaged(f"what {self._name} says of itself cannot be read: {error}") from error

    @property
    def rules(self) -> MatchRules:
        """The match rules of its keys. Raises `Damaged`."""
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
        """The redactor of its secrets; None where it is older than redaction, or its recorder died at once."""
        match self.meta.get("redaction"):
            case None:
                return None
            case {"salt": str(salt), "rules": [*rules]} if all(isinstance(rule, str) for rule in rules):
                from replayproxy.core.redaction import Redactor

                with suppress(ValueError, SettingsError):
                    return Redactor(bytes.fromhex(salt)[:64], rules)
        raise Damaged(f"{self._name} does not say how its secrets were masked: restore it from a copy")

    @cached_property
    def _checked(self) -> schema.Checked:
        with database.translated(self._name):
            return schema.check(self._readers.mine(), self._name)

    @property
    def stored(self) -> schema.Format:
        """The format of the file."""
        return schema.format_of(self._readers.mine())

    @property
    def foreign(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of what somebody else has added to the file. It is not read."""
        return self._checked.foreign

    def use_rules(self, matcher: Matcher) -> None:
        """Find recordings by other match rules than their own: every key is derived again, in memory."""
        self._occurrences.number(lambda number, _: key_bytes(matcher.key(self.request(number))))
        self._answers.clear()

    def _lacks_occurrences(self) -> bool:
        """Whether it is of format 1, which gave no occurrence to an answer whose client had left, and has such one."""
        left = f"SELECT count(*) FROM exchange WHERE ending = {int(Ending.CLIENT_LEFT)} AND status > 0"
        return self.stored.number == 1 and typed(self.one(left), int)[0] > 0

    # Recordings by key and occurrence

    def count(self, key: Key) -> int:
        """Return the number of recordings of a key."""
        return self._occurrences.count(key)

    def count_broken(self, key: Key) -> int:
        """Return how many answers to a key broke off."""
        return self._occurrences.count_broken(key)

    def count_cut(self, method: str, path: str) -> int:
        """Return how many recordings of this endpoint have a request that was not read to its end."""
        row = self.one(
            "SELECT count(*) FROM exchange WHERE state = 1 AND request_cut = 1"
            " AND endpoint IN (SELECT id FROM endpoint WHERE method = ? AND path = ?)",
            *(method, path),
        )
        return int(row[0])

    def count_of_endpoint(self, method: str, path: str) -> tuple[int, int]:
        """Return how many different requests have a recording, and how many of these are at this endpoint."""
        return self._sketches.count(method, path)

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """Return the occurrence that was recorded with this hand-over from prefill to decode."""
        return self._occurrences.with_transfer(key, transfer)

    def places(self) -> Iterator[tuple[int, RecordingRef, str]]:
        """Yield number, reference and short id of each recording, the oldest first."""
        return self._occurrences.all()

    def playable(self, *, new: bool = False) -> Iterator[tuple[RecordingRef, str, str, str]]:
        """Yield reference, short id, method and path of each recording, the oldest first.

        `new`: only what has been recorded since this was opened.
        """
        return self._occurrences.with_endpoints(new=new)

    def some(self, limit: int) -> list[RecordingRef]:
        """Return at most so many recordings, those of preflights first."""
        return self._occurrences.some(limit)

    def near(self, method: str, path: str, sketch: bytes, limit: int) -> list[Neighbour]:
        """Return the recordings of this endpoint whose sketch has most in common with this one, best first."""
        return [self._neighbour(number) for number in self._sketches.nearest(method, path, sketch, limit)]

    def _neighbour(self, number: int) -> Neighbour:
        from replayproxy.ports import Neighbour

        row = self.one("SELECT digest, status, completion_tokens, finish FROM exchange WHERE id = ?", number)
        digest, status, tokens, finish = typed(row, bytes, int, int | None, str | None)
        return Neighbour(self._name, digest[:4].hex(), self.request(number), status, tokens, finish)

    def about_servers(self) -> tuple[list[Mapping[str, Any]], list[str]]:
        """Return the meta entries, and the names of the models that occur."""
        rows = self.all("SELECT DISTINCT model FROM endpoint WHERE model IS NOT NULL ORDER BY model")
        return [self.meta], [name for row in rows for name in typed(row, str)]

    # Playing

    async def read(self, ref: RecordingRef, aside: Executor | None = None) -> Response:
        """Return an answer, whole and checked. A long one is unpacked in a thread of `aside`."""
        cached = self._answers.get(ref)
        if cached is not None:
            return cached
        number, size, has_legs = self._occurrences.find(ref)
        if size > LONG or has_legs:
            unpack = partial(self._exchanges.whole_with_legs, number)
            request, response = await self._answers.unpack_aside(ref, aside, unpack)
        else:
            request, response = self._exchanges.whole(number)
        from replayproxy.core.answers import check_answer

        # A digest says who wrote it last, not that it is an answer: the file may come from anywhere.
        check_answer(request.method, response, f"recording {number} in {self._name}")
        self._answers.add(ref, response)
        return response

    def short_id(self, ref: RecordingRef) -> str:
        """Return the id of a recording, as people give it to `show`. Raises `Damaged` if it is not there."""
        number, _, _ = self._occurrences.find(ref)
        (digest,) = typed(self.one("SELECT digest FROM exchange WHERE id = ?", number), bytes)
        return str(digest[:4].hex())

    def facts(self, ref: RecordingRef) -> RecordedFacts:
        """Return what the row of a recording says of its answer. Raises `Damaged` if it is not there."""
        from replayproxy.core.server_state import RecordedFacts

        number, _, _ = self._occurrences.find(ref)
        row = self.one(
            "SELECT recorded_at, coalesce(total_us, 0), ttft_us, status, stream, prompt_tokens, completion_tokens,"
            " cached_tokens, finish FROM exchange WHERE id = ?",
            number,
        )
        kinds = (int, int, int | None, int, int, int | None, int | None, int | None, str | None)
        at, total, first, status, stream, prompt, completion, cached, finish = typed(row, *kinds)
        return RecordedFacts(
            recorded_at=at,
            total=1000 * total,
            first_token=None if first is None else 1000 * first,
            status=status,
            is_stream=bool(stream),
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            finish=finish,
        )

    async def aside(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function that reads for long in a thread, which gets a connection of its own."""
        import asyncio

        return await asyncio.to_thread(function, *arguments)

    def warm_up(self) -> None:
        """Unpack a few answers, so that the first request does not wait for tables to be made: 3 ms."""
        few = "SELECT id FROM exchange WHERE occurrence IS NOT NULL AND response_size <= ? ORDER BY id LIMIT ?"
        with suppress(CassetteError):  # the request for it will report it
            for row in self.all(few, LONG, WARMING):
                self.response(*typed(row, int))

    def state_bytes(self) -> dict[str, int]:
        """Return about how many bytes of memory are kept for coming requests, by kind."""
        return {
            "answers": self._answers.size,
            "counts": self._occurrences.size,
            "sketches": self._sketches.size,
        }

    # Exchanges by number

    def request(self, number: int) -> Request:
        """Return the request as the client sent it, without its secrets. Raises `Damaged`."""
        return self._exchanges.request(number)

    def response(self, number: int) -> Response:
        """Return what the client got. Raises `Damaged` unless it is byte for byte what was written."""
        return self._exchanges.whole(number)[1]

    def exchange(self, number: int) -> Exchange:
        """Return everything about one exchange. Raises `Damaged`."""
        return self._exchanges.exchange(number)

    def stored_sizes(self, number: int) -> tuple[int, int, int]:
        """Return how many bytes the file takes for the request, the answer and the times of an exchange."""
        return self._exchanges.sizes(number)

    def bundles(self) -> Iterator[Bundle]:
        """Yield all bundles, for a check of the whole file. Raises `Damaged`."""
        return self._exchanges.bundles()

    def codec_of(self, *row: object) -> Codec:
        """Return this thread's codec, which has the file's dictionaries, with its budget set to this row."""
        return self._exchanges.codec_of(*row)

    def fresh_codec(self) -> Codec:
        """Return a codec that knows no dictionary, with the budget of this file."""
        return Codec(budget=self._readers.budget)

    # Rows of v_exchange

    def find(self, prefix: str) -> list[int]:
        """Return the numbers of the exchanges whose short id begins so, at most nine."""
        first, behind = digests_from(prefix)
        rows = self.all("SELECT id FROM exchange WHERE digest >= ? AND digest < ? LIMIT 9", first, behind)
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
        """Yield rows of `v_exchange`. `where`, `columns` and `order` are SQL that a user may have written; the file is
        open read-only. Raises `SettingsError` for SQL that cannot be run."""
        return self._queries.rows(where, parameters, columns=columns, order=order, limit=limit)

    def row(self, number: int) -> dict[str, Any]:
        """Return the row of `v_exchange` of this exchange. Raises `Damaged` where the view has lost it."""
        found = next(self.rows("number = :number", {"number": number}), None)
        if found is None:  # its endpoint is not there, for example
            raise Damaged(f"exchange {number} in {self._name} refers to something that is not there: restore it")
        return found

    def timelines(
        self, where: str = "1", parameters: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[int, Timeline]]:
        """Yield the numbers of finished exchanges, chosen as in `rows`, with their times. Unpacks no bodies."""
        sql = (
            "SELECT number, (SELECT times FROM payload WHERE payload.exchange = v_exchange.number) FROM v_exchange"
            f" WHERE state = 'done' AND ({where})"
        )
        for row in self._queries.select(sql, parameters or {}):
            number, times = typed(row, int, bytes | None)
            yield number, self._exchanges.timeline(number, times)

    def check_condition(self, where: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Raise `SettingsError` unless `where` is a condition on `v_exchange` by itself."""
        self._queries.check_condition(where, parameters)

    def select(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query with a condition of a user in it. Raises `SettingsError` if it cannot be run."""
        return self._queries.select(sql, parameters)

    def one(self, sql: str, *parameters: object) -> Sequence[Any]:
        """Return the row of a query that gives one for each recording. Raises `CassetteError` where it gives none."""
        return self._queries.one(sql, *parameters)

    def all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self._queries.all(sql, *parameters)
