"""Answer questions about one cassette: the SQL of `ls`, `show`, `stats`, `info` and the public API, with typed results.

    ExchangeFilter, RowOrder ──▶ one SELECT on v_exchange ──▶ ExchangeRow, MeasuredRow, CassetteSummary

Implements `views.port.Browser`. Each thread that asks reads on a connection of its own (`readers`). Unpacks nothing but
times; whole exchanges come from `cassette`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from replayproxy.cassette.condition import fault_in
from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.stored_keys import digests_from
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.model import Exchange, Key, Request, Response, Timeline
from replayproxy.views.port import (
    EVERYTHING,
    AnswerColumns,
    CassetteSummary,
    DictionarySize,
    ExchangeFilter,
    ExchangeId,
    ExchangeRow,
    FileSizes,
    LegRow,
    MeasuredRow,
    RowOrder,
    StoredSizes,
    StreamEnds,
    Value,
)

if TYPE_CHECKING:
    from replayproxy.core.identity.rules import MatchRules

MEASURED = "state = 'done' AND ending = 'complete' AND status BETWEEN 200 AND 399"
"""Answers that are measured: an error that comes fast is not a fast answer."""

STARVED = "stream AND chunks > 1 AND starved_s > 0 AND 2 * starved_s * (chunks - 1) >= total_s - coalesce(ttft_s, 0)"
"""Answers whose gaps a late recorder has spoilt; `views.starvation` says why, and computes the same of a row."""

BATCH = 500
"""Exchanges whose times are asked for by one statement: SQLite parses a list of a few thousand in no time."""

MOST_STREAMS, MOST_STREAM_BYTES = 500, 8 * 1024 * 1024
"""How many of the newest streams `info` unpacks to look for their ends, and how many bytes of them: 0.2 s."""

# The last leg of a role: a pair may have asked another server first, which did not answer.
_LEG = "(SELECT ({}) / 1e6 FROM leg WHERE leg.exchange = v_exchange.number AND role = '{}' ORDER BY leg DESC LIMIT 1)"

_MEASURED_COLUMNS = (
    "number, model, method, path, stream, status, state, ending, ttft_s, tpot_s, total_s, chunks, starved_s,"
    " CAST(completion_tokens AS INTEGER) AS output_tokens,"
    " (SELECT CAST(recorded_at AS INTEGER) FROM exchange WHERE exchange.id = v_exchange.number) AS at,"
    f" {_LEG.format('total_us', 'prefill')} AS prefill_s,"
    f" {_LEG.format('started_us', 'decode')} - {_LEG.format('started_us + total_us', 'prefill')} AS handover_s,"
    f" ttft_s - {_LEG.format('started_us', 'decode')} AS decode_ttft_s,"
    f" {MEASURED} AS measured"
)


class CassetteBrowser:
    """Answers questions about one cassette. A context manager; closes what `open` has opened."""

    def __init__(self, cassette: CassetteReader) -> None:
        self.cassette = cassette

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a cassette for reading. Raises `CassetteError`."""
        return cls(CassetteReader(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cassette.close()

    @property
    def path(self) -> Path:
        """Where the cassette is."""
        return self.cassette.path

    @property
    def rules(self) -> MatchRules:
        """The match rules that its keys were made by."""
        return self.cassette.rules

    # Many exchanges

    def check(self, chosen: ExchangeFilter) -> None:
        """Raise `SettingsError` unless the SQL of a filter is one condition by itself, and its values can be bound.

        It is run by `EXPLAIN` here, alone, so that errors quote the user's words and not ours.
        """
        for name, value in (
            ("where", chosen.where),
            ("model", chosen.model),
            ("endpoint", chosen.endpoint),
            *chosen.values,
        ):
            if (why := _why_unbindable(value)) is not None:
                raise SettingsError(f"{name}: {value!r} {why}")
        if chosen.where is None:
            return
        if "\0" in chosen.where:  # Python refuses it, with an error that differs from version to version
            raise SettingsError(f"the condition {chosen.where!r} cannot be used: it holds a NUL character")
        fault = fault_in(chosen.where, frozenset(name for name, _ in chosen.values))
        if fault is not None:
            raise SettingsError(f"the condition {chosen.where!r} cannot be used: {fault}")
        self.cassette.check_condition(chosen.where, dict(parameters_of(chosen)))

    def columns(self) -> list[str]:
        """The names of the fields of a row, in their order."""
        return [str(name) for (name,) in self.cassette.all("SELECT name FROM pragma_table_info('v_exchange')")]

    def rows(
        self, chosen: ExchangeFilter = EVERYTHING, order: RowOrder | None = None, limit: int | None = None
    ) -> Iterator[ExchangeRow]:
        """The exchanges that meet a filter, by time or by `order`. Raises `SettingsError` for SQL that cannot run."""
        sql = "recorded_at, number"
        if order is not None:
            if order.field not in ExchangeRow.__annotations__:  # it will stand in SQL
                raise SettingsError(f"there is no column {order.field!r}")
            sql = f"{order.field} {'DESC' if order.descending else 'ASC'} NULLS LAST, number"
        return self._rows(chosen, sql, limit)

    def newest_rows(self, chosen: ExchangeFilter, limit: int) -> Iterator[ExchangeRow]:
        """At most `limit` exchanges, those that ended last first: read from the row numbers, which grow as they end."""
        return self._rows(chosen, "number DESC", limit)

    def _rows(self, chosen: ExchangeFilter, order: str, limit: int | None) -> Iterator[ExchangeRow]:
        found = self.cassette.rows(
            condition_of(chosen), parameters_of(chosen), order=order, limit=-1 if limit is None else limit
        )
        return cast(Iterator[ExchangeRow], found)

    def count(self, chosen: ExchangeFilter = EVERYTHING) -> int:
        """How many exchanges meet a filter. All of them are counted in an index."""
        if chosen.is_everything:
            return int(self._number("SELECT count(*) FROM exchange"))
        counted = self.cassette.rows(
            condition_of(chosen), parameters_of(chosen), columns="count(*) AS exchanges", order="1"
        )
        return int(next(counted)["exchanges"])

    def count_cut_requests(self) -> int:
        """How many exchanges have a request that was not read to its end."""
        return self._number("SELECT count(*) FROM exchange WHERE request_cut = 1")

    def measured_rows(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[MeasuredRow]:
        """What statistics need of each exchange that meets a filter, in no stated order."""
        found = self.cassette.rows(condition_of(chosen), parameters_of(chosen), columns=_MEASURED_COLUMNS, order="1")
        return cast(Iterator[MeasuredRow], found)

    def answer_columns(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[AnswerColumns]:
        """What statistics need of all exchanges that meet a filter, as columns of some thousand of them."""
        from replayproxy.cassette.answer_columns import read_columns

        condition = None if chosen.is_everything else condition_of(chosen)
        return read_columns(self.cassette, condition, parameters_of(chosen))

    def leg_rows(self, chosen: ExchangeFilter = EVERYTHING) -> Iterator[LegRow]:
        """The legs of the exchanges that meet a filter, in the order of their numbers."""
        from replayproxy.cassette.answer_columns import read_legs

        return read_legs(self.cassette, condition_of(chosen), parameters_of(chosen))

    def timelines(self, numbers: Sequence[int]) -> Iterator[tuple[int, Timeline]]:
        """The times of finished exchanges, 0.2 ms for 150 chunks. Unpacks no bodies."""
        for start in range(0, len(numbers), BATCH):
            batch = ",".join(f"{number:d}" for number in numbers[start : start + BATCH])
            yield from self.cassette.timelines(f"number IN ({batch})")

    # One exchange

    def row(self, number: int) -> ExchangeRow:
        """The row of one exchange."""
        return cast(ExchangeRow, self.cassette.row(number))

    def exchange(self, number: int) -> Exchange:
        """One exchange, unpacked and checked by its digest."""
        return self.cassette.exchange(number)

    def request(self, number: int) -> Request:
        """The request of one exchange, unpacked; its answer is not."""
        return self.cassette.request(number)

    def response(self, number: int) -> Response:
        """The answer of one exchange, unpacked and checked by its digest."""
        return self.cassette.response(number)

    def playable(self, key: Key) -> int:
        """How many recordings replay to requests with this key."""
        return self.cassette.count(key)

    def stored_sizes(self, number: int) -> StoredSizes:
        """What one exchange takes on disk."""
        return StoredSizes(*self.cassette.stored_sizes(number))

    # By id

    def newest(self) -> int | None:
        """The number of the finished exchange that ended last."""
        (newest,) = typed(self.cassette.one("SELECT max(id) FROM exchange WHERE state = 1"), int | None)
        return cast(int | None, newest)

    def newest_ids(self, limit: int) -> list[ExchangeId]:
        """The ids of at most so many exchanges, the newest first."""
        sql = "SELECT id, lower(hex(digest)) FROM exchange WHERE digest IS NOT NULL ORDER BY id DESC LIMIT ?"
        return [ExchangeId(*typed(row, int, str)) for row in self.cassette.all(sql, limit)]

    def find(self, prefix: str) -> list[ExchangeId]:
        """At most nine exchanges whose id begins with `prefix`."""
        sql = "SELECT lower(hex(digest)) FROM exchange WHERE id = ?"
        return [ExchangeId(number, str(self.cassette.one(sql, number)[0])) for number in self.cassette.find(prefix)]

    def count_ids(self, prefix: str) -> int:
        """How many exchanges have an id that begins with `prefix`."""
        return self._number("SELECT count(*) FROM exchange WHERE digest >= ? AND digest < ?", *digests_from(prefix))

    # The whole

    def summary(self) -> CassetteSummary:
        """What the cassette is and holds. Unpacks nothing but the newest streams, to look for their ends."""
        # What no other question needs: `ls` is to start fast (tests/cli/test_imports.py).
        from replayproxy.cassette.server_state import StoredState
        from replayproxy.cassette.writer import left_out
        from replayproxy.core.server_facts import ServerFacts

        cassette = self.cassette
        first, last = cassette.one(
            "SELECT CAST(min(recorded_at) AS INTEGER), CAST(max(recorded_at) AS INTEGER) FROM exchange"
        )
        starved, longest = cassette.one(
            f"SELECT count(*), coalesce(max(starved_s), 0.0) FROM v_exchange WHERE {STARVED}"
        )
        wal = Path(f"{self.path}-wal")
        redactor = cassette.redactor
        meta = dict(cassette.all("SELECT name, value FROM meta WHERE name NOT IN ('match', 'redaction') ORDER BY name"))
        values = {name: _value(text) for name, text in meta.items()}
        return CassetteSummary(
            path=self.path,
            format=self._number("PRAGMA user_version"),
            meta=meta,
            is_sealed=not wal.exists(),
            rules=cassette.rules,
            redaction_rules=None if redactor is None else redactor.rules,
            exchanges=self.count(),
            first_recorded_at=first,
            last_recorded_at=last,
            endings=self._counts("CASE state WHEN 'open' THEN 'in flight' ELSE ending END"),
            statuses=self._counts("status", "status > 0"),
            models=self._counts("model", "model IS NOT NULL"),
            endpoints=self._counts("method || ' ' || path"),
            opaque=self._number("SELECT count(*) FROM v_exchange WHERE opaque = 1"),
            stream_ends=self._stream_ends(),
            sizes=self._sizes(self.path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)),
            dictionaries=[
                DictionarySize(*row)
                for row in cassette.all("SELECT id, kind, length(content) FROM dictionary ORDER BY id")
            ],
            starved_answers=starved,
            longest_starved_s=longest,
            dropped=dict(
                cassette.all(
                    "SELECT CAST(reason AS TEXT), sum(exchanges) FROM dropped GROUP BY reason ORDER BY 2 DESC, 1"
                )
            ),
            left_out=left_out(values.get("left_out")),
            server=ServerFacts.of_meta(values),
            server_state={
                f"{kind} {server}": count for (kind, server), count in StoredState(cassette).counts().items()
            },
            foreign=cassette.foreign,
        )

    def _stream_ends(self) -> StreamEnds:
        """Which of the newest complete streams lack the event that ends them."""
        from replayproxy.core.dialects.stream_end import missing_end

        condition = "FROM v_exchange WHERE stream = 1 AND state = 'done' AND ending = 'complete' AND status / 100 = 2"
        checked, left, missing = 0, MOST_STREAM_BYTES, Counter[str]()
        for row in self.cassette.all(
            f"SELECT number, path, response_size {condition} ORDER BY number DESC LIMIT {MOST_STREAMS}"
        ):
            number, path, size = typed(row, int, str, int)
            left -= size
            if left < 0:
                break
            with suppress(CassetteError):  # `verify` says what is wrong with it
                if (label := missing_end(path, self.response(number))) is not None:
                    missing[label] += 1
            checked += 1
        return StreamEnds(self._number(f"SELECT count(*) {condition}"), checked, dict(missing.most_common()))

    def _counts(self, what: str, where: str = "1") -> dict[str, int]:
        """How often each value occurs, the most frequent first."""
        rows = self.cassette.all(f"SELECT {what}, count(*) FROM v_exchange WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1")
        return {str(name): times for name, times in rows}

    def _sizes(self, file: int) -> FileSizes:
        """What was recorded, and what it takes. The parts of the file add up to it."""
        requests, answers = self.cassette.one(
            "SELECT coalesce(sum(request_size), 0), coalesce(sum(response_size), 0) FROM exchange"
        )
        sums = {
            "requests": "SELECT sum(length(request)) FROM payload",
            "answers": "SELECT sum(length(answer)) FROM answer",
            "times": "SELECT sum(length(times)) FROM payload",
            "legs": "SELECT sum(length(request) + length(answer) + length(times)) FROM leg",
            "in_flight": "SELECT sum(length(heard)) FROM segment",
            "dictionaries": "SELECT sum(length(content)) FROM dictionary",
        }
        parts = {name: self._number(sql) for name, sql in sums.items()}
        if self.cassette.stored.number > 1:
            sizes = self.cassette.one(
                "SELECT total(length(requests)), total(length(codes) + length(answers)), total(length(times))"
                " FROM bundle"
            )
            for name, size in zip(("requests", "answers", "times"), sizes, strict=True):
                parts[name] += int(size)
        rest = max(0, file - sum(parts.values()))
        return FileSizes(requests, answers, file, **parts, rows_and_free_space=rest)

    def _number(self, sql: str, *parameters: object) -> int:
        """A query that gives one number; NULL, the sum of no rows, is 0."""
        return int(self.cassette.one(sql, *parameters)[0] or 0)


def _value(text: object) -> Any:
    """A meta entry, which is JSON; where it is damaged, its text."""
    import orjson

    try:
        return orjson.loads(str(text))
    except orjson.JSONDecodeError:
        return text


# A filter as SQL


def _why_unbindable(value: object) -> str | None:
    """Why SQLite cannot take a value; it would say so with errors of its own, in the middle of a query."""
    match value:
        case str() if any(0xD800 <= ord(character) < 0xE000 for character in value):
            return "is not UTF-8"
        case int() if not -(2**63) <= value < 2**63:
            return "has more than 64 bits: give a float"
        case None | str() | int() | float() | bytes():
            return None
    return f"is of type {type(value).__name__}: give text, bytes, a number or None"


def condition_of(chosen: ExchangeFilter) -> str:
    """A condition on `v_exchange`. The line feed ends a comment that the user's SQL may have left open."""
    parts = ["state = 'done'"] if chosen.finished else []
    parts += [f"({chosen.where}\n)"] if chosen.where is not None else []
    parts += ["model = :replayproxy_model"] if chosen.model is not None else []
    parts += ["status = :replayproxy_status"] if chosen.status is not None else []
    if chosen.endpoint is not None:
        # A method has no slash, so this cannot take one for the other.
        parts.append(":replayproxy_endpoint IN (path, method || ' ' || path)")
    # Text in the view, a number in the table; the number is exact.
    if chosen.since is not None:
        parts.append("number IN (SELECT id FROM exchange WHERE recorded_at >= :replayproxy_since)")
    if chosen.until is not None:
        parts.append("number IN (SELECT id FROM exchange WHERE recorded_at < :replayproxy_until)")
    return " AND ".join(parts) or "1"


def parameters_of(chosen: ExchangeFilter) -> dict[str, Value]:
    """What is bound: values are never pasted into SQL."""
    return dict(chosen.values) | {
        "replayproxy_since": chosen.since,
        "replayproxy_until": chosen.until,
        "replayproxy_model": chosen.model,
        "replayproxy_endpoint": chosen.endpoint,
        "replayproxy_status": chosen.status,
    }
