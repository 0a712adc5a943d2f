"""`ls`: exchanges as lines, the newest last.

Looks at rows only. Of a short list it also unpacks the streams: their times for CHUNK p50, and their answers for
whether the event that ends such a stream is there. What is newest is read from the row numbers, which grow as
exchanges end, so a list of fifty costs the same on any cassette.
"""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from replayproxy.cassette.cassette import Cassette
from replayproxy.cli.options import suggestion
from replayproxy.cli.printing.screen import Line, Span
from replayproxy.cli.printing.table import Column, Row
from replayproxy.cli.reading.choice import Choice
from replayproxy.core.stats import percentile
from replayproxy.core.stream_end import missing_end
from replayproxy.errors import CassetteError
from replayproxy.views import starvation
from replayproxy.views.units import count, duration, plural

NEWEST = 50
"""Rows on a terminal unless told; a pipe gets all."""

FEW = 1000
"""Rows for which CHUNK p50 is worth 0.2 ms each; a longer list has no such column."""

SEVERAL = 1.5
"""Tokens per chunk above which a chunk is called bundled."""


# What each column says


def whole_start(row: Row) -> str:
    """`2026-11-18 09:14:03.118`, where there is room for it."""
    return str(row["recorded_at"]).replace("T", " ").removesuffix("Z")


def start_second(row: Row) -> str:
    """Without milliseconds, where a list goes over days."""
    return whole_start(row)[:19]


def start_time(row: Row) -> str:
    """Without the date, where all rows have the same."""
    return whole_start(row)[11:]


def _endpoint(row: Row) -> str:
    return str(row["path"]) if row["method"] == "POST" else f"{row['method']} {row['path']}"


def _code_style(row: Row) -> str:
    return "red" if row["status"] >= 400 else ""


def is_bundled(row: Row) -> bool:
    """Whether a chunk holds several tokens, so that its gap is no inter-token latency."""
    tokens, chunks = row["completion_tokens"], row["chunks"]
    return bool(row["stream"] and tokens and chunks and tokens > SEVERAL * chunks)


def ending(row: Row) -> str:
    """How it ended, in the field's words where it ended well."""
    if row["state"] == "open":
        return "in flight"
    return str(row["finish"] or "") if row["ending"] == "complete" else str(row["ending"])


def _finish(row: Row) -> str:
    marks = [
        ending(row),
        "*bundled" if is_bundled(row) else "",
        "pair" if row["legs"] else "",
        "request cut" if row.get("request_cut") else "",
        f"stalled {row['stalled']}x" if row["stalled"] else "",
        f"starved {duration(delay)}" if (delay := starvation.delay(row)) else "",
        "opaque" if row.get("opaque") else "",
        f"no {row['missing_end']}" if row.get("missing_end") else "",
    ]
    return "  ".join(filter(None, marks))


def ending_style(row: Row) -> str:
    """Red for what broke, yellow for what is not over."""
    if row["state"] == "open":
        return "yellow"
    return "" if row["ending"] == "complete" else "bold red"


def _known(name: str, spelled: Any) -> Any:
    return lambda row: "" if row.get(name) is None else spelled(row[name])


def columns(*, several: bool, gaps: bool, start: Callable[[Row], str] = whole_start) -> list[Column]:
    """The columns of the list: which cassette only where there are several, CHUNK p50 only where rows are few."""
    return [
        *([Column("CASSETTE", lambda row: row["cassette"], left=True, spare=5, flexible=8)] if several else ()),
        Column("ID", lambda row: row["id"], style=lambda _: "bold", left=True),
        Column("START (UTC)", start, left=True),
        Column("ENDPOINT", _endpoint, left=True, flexible=12),
        Column("MODEL", lambda row: row["model"] or "", left=True, spare=3, flexible=12, tail=True),
        Column("CODE", lambda row: str(row["status"] or ""), style=_code_style),
        Column("IN", _known("prompt_tokens", count), spare=6),
        Column("OUT", _known("completion_tokens", count), spare=2),
        Column("CHUNKS", lambda row: count(row["chunks"]) if row["stream"] else "", spare=8),
        Column("TTFT", _known("ttft_s", duration), spare=1),
        *([Column("CHUNK p50", _known("chunk_gap_p50_s", duration), spare=9)] if gaps else ()),
        Column("TOTAL", _known("total_s", duration)),
        Column("FINISH", _finish, style=ending_style, left=True, flexible=18),
    ]


HEADINGS = {
    "ID": "id",
    "START": "recorded_at",
    "ENDPOINT": "path",
    "CODE": "status",
    "IN": "prompt_tokens",
    "OUT": "completion_tokens",
    "TTFT": "ttft_s",
    "TPOT": "tpot_s",
    "TOTAL": "total_s",
}
"""Headings that are no names of fields, for `--sort`."""


# Which rows


@dataclass(frozen=True, slots=True)
class Order:
    """What `--sort` said: a field, and whether the largest comes first. Rows without a value come last."""

    field: str
    descending: bool = False

    @classmethod
    def read(cls, text: str, fields: Sequence[str]) -> Order:
        """A field or a heading, with `-` before it for the largest first. Raises `click.UsageError`."""
        name = text.removeprefix("-")
        field = {heading.lower(): field for heading, field in HEADINGS.items()}.get(name.lower(), name.lower())
        if field not in fields:
            choices = [*fields, *(heading.lower() for heading in HEADINGS)]
            close = suggestion(name.lower(), choices) or f": choose from {', '.join(fields)}"
            raise click.UsageError(f"--sort: there is no column {name!r}{close}")
        return cls(field, descending=text.startswith("-"))

    @property
    def sql(self) -> str:
        """ORDER BY."""
        return f"{self.field} {'DESC' if self.descending else 'ASC'} NULLS LAST, number"

    def place(self, row: Row) -> tuple[bool, Any]:
        """For merging rows of several cassettes, each in this order already."""
        value = row[self.field]
        if value is None:
            return (True, 0)
        return (False, _Reversed(value) if self.descending else value)


@dataclass(frozen=True, slots=True)
class _Reversed:
    value: Any

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def fields(cassette: Cassette) -> list[str]:
    """The names of all fields of a row."""
    return [str(name) for (name,) in cassette.all("SELECT name FROM pragma_table_info('v_exchange')")]


def rows(
    cassettes: Sequence[Cassette], choice: Choice, order: Order | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    """The rows that were asked for, in the order they are shown in: by time, or by `order`.

    With a limit: the newest so many, or the first so many by `order`. Several cassettes are merged.
    """
    if order is not None:
        return _first(
            heapq.merge(*(_of(cassette, choice, order.sql, limit) for cassette in cassettes), key=order.place), limit
        )
    if limit is None:
        return heapq.merge(
            *(_of(cassette, choice, "recorded_at, number", None) for cassette in cassettes), key=_by_time
        )
    newest = [row for cassette in cassettes for row in _of(cassette, choice, "number DESC", limit)]
    return iter(sorted(newest, key=_by_time)[max(0, len(newest) - limit) :])


def _by_time(row: Row) -> Any:
    return row["recorded_at"], row["number"]


def _of(cassette: Cassette, choice: Choice, order: str, limit: int | None) -> Iterator[dict[str, Any]]:
    found = cassette.rows(choice.condition, choice.parameters, order=order, limit=-1 if limit is None else limit)
    return ({"cassette": str(cassette.path), **row} for row in found)


def _first(rows: Iterable[dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
    for place, row in enumerate(rows):
        if place == limit:
            return
        yield row


def with_streams(rows: Iterable[dict[str, Any]], cassettes: Sequence[Cassette]) -> Iterator[dict[str, Any]]:
    """The same rows with `chunk_gap_p50_s` and `missing_end`, for those that streamed."""
    by_path = {str(cassette.path): cassette for cassette in cassettes}
    for row in rows:
        if not row["stream"] or row["state"] != "done":
            yield row
            continue
        cassette = by_path[row["cassette"]]
        more: dict[str, Any] = {}
        if row["chunks"] > 1:
            for _, timeline in cassette.timelines("number = :number", {"number": row["number"]}):
                more["chunk_gap_p50_s"] = percentile(sorted(timeline.gaps()), 50) / 1e9
        if row["ending"] == "complete":
            with suppress(CassetteError):  # `verify` says what is wrong with it
                more["missing_end"] = missing_end(row["path"], cassette.response(row["number"]))
        yield row | more


# What is said below


@dataclass(slots=True)
class Seen:
    """What went by while a list was printed."""

    rows: int = 0
    bundled: bool = False
    first: Row | None = None
    last: Row | None = None

    def watch(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The same rows."""
        for row in rows:
            self.rows += 1
            self.bundled = self.bundled or is_bundled(row)
            self.first = self.first or row
            self.last = row
            yield row


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there are, and how many of them were chosen."""

    all: int
    chosen: int

    @classmethod
    def of(cls, cassettes: Sequence[Cassette], choice: Choice) -> Tally:
        """Count. Without a choice this reads an index only."""
        everything = sum(int(cassette.one("SELECT count(*) FROM exchange")[0]) for cassette in cassettes)
        if choice.is_everything:
            return cls(everything, everything)
        counted = (
            next(cassette.rows(choice.condition, choice.parameters, columns="count(*) AS n", order="1"))["n"]
            for cassette in cassettes
        )
        return cls(everything, sum(counted))


def footer(seen: Seen, tally: Tally, names: str, *, order: Order | None, day: str, hidden: Sequence[str]) -> list[Line]:
    """What a reader needs to know of the list, and the next steps."""
    if not seen.rows:
        empty = (
            f"None of {plural(tally.all, 'exchange')} in {names} matches."
            if tally.all
            else f"{names} holds no exchanges yet."
        )
        return [[Span(empty)]]
    cut = seen.rows < tally.chosen
    said = (
        f"{'First' if order else 'Newest'} {count(seen.rows)} of {count(tally.chosen)}"
        if cut
        else plural(seen.rows, "exchange")
    )
    if tally.chosen < tally.all:
        said += f" matching ({count(tally.all)} in {names})"
    else:
        said += f" in {names}"
    lines = [[Span(said + (f", {day}" if day else "") + ".")]]
    if seen.bundled:
        lines[0].append(Span("  * several tokens per chunk: CHUNK is not ITL."))
    if hidden:
        lines.append([Span(f"No room for {', '.join(hidden)}: widen the terminal, or --no-trunc.", "dim")])
    nearest = seen.first if order else seen.last
    if nearest is not None:
        step = [
            Span("Next:  ", "dim"),
            Span(f"replayproxy show {shlex.quote(nearest['cassette'])} {nearest['id']}"),
        ]
        if cut:
            step += [Span("    more:  ", "dim"), Span(f"-n {4 * seen.rows}"), Span("    all:  ", "dim"), Span("-n 0")]
        lines.append(step)
    return lines
