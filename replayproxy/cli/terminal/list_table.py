"""The table of `ls` for people: its columns, what `--sort` may name, and the lines below it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import cast

import click

from replayproxy.cli.options import suggestion
from replayproxy.cli.terminal.screen import Line, Span
from replayproxy.cli.terminal.table import Column, Row
from replayproxy.views import starvation
from replayproxy.views.listing import PrintedRows, RowCount, ending, is_bundled
from replayproxy.views.port import ExchangeRow, RowOrder
from replayproxy.views.units import count, duration, plural

NEWEST = 50
"""Rows on a terminal by default; a pipe gets all."""

FEW = 1000
"""Rows for which CHUNK p50 is worth 0.2 ms each; a longer list has no such column."""


# Columns


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


def _finish(row: Row) -> str:
    marks = [
        ending(cast(ExchangeRow, row)),
        "*bundled" if is_bundled(cast(ExchangeRow, row)) else "",
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


def _if_any(name: str, formatted: Callable[[float], str]) -> Callable[[Row], str]:
    """The text of a number that not every row has."""
    return lambda row: "" if row.get(name) is None else formatted(row[name])


def columns(*, several: bool, gaps: bool, start: Callable[[Row], str] = whole_start) -> list[Column]:
    """The columns of the list: which cassette only where there are several, CHUNK p50 only where rows are few."""
    return [
        *([Column("CASSETTE", lambda row: row["cassette"], left=True, spare=5, flexible=8)] if several else ()),
        Column("ID", lambda row: row["id"], style=lambda _: "bold", left=True),
        Column("START (UTC)", start, left=True),
        Column("ENDPOINT", _endpoint, left=True, flexible=12),
        Column("MODEL", lambda row: row["model"] or "", left=True, spare=3, flexible=12, tail=True),
        Column("CODE", lambda row: str(row["status"] or ""), style=_code_style),
        Column("IN", _if_any("prompt_tokens", count), spare=6),
        Column("OUT", _if_any("completion_tokens", count), spare=2),
        Column("CHUNKS", lambda row: count(row["chunks"]) if row["stream"] else "", spare=8),
        Column("TTFT", _if_any("ttft_s", duration), spare=1),
        *([Column("CHUNK p50", _if_any("chunk_gap_p50_s", duration), spare=9)] if gaps else ()),
        Column("TOTAL", _if_any("total_s", duration)),
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


def read_order(text: str, fields: Sequence[str]) -> RowOrder:
    """What `--sort` says: a field or a heading, with `-` before it for the largest first. Raises `click.UsageError`."""
    name = text.removeprefix("-")
    field = {heading.lower(): field for heading, field in HEADINGS.items()}.get(name.lower(), name.lower())
    if field not in fields:
        choices = [*fields, *(heading.lower() for heading in HEADINGS)]
        close = suggestion(name.lower(), choices) or f": choose from {', '.join(fields)}"
        raise click.UsageError(f"--sort: there is no column {name!r}{close}")
    return RowOrder(field, descending=text.startswith("-"))


# Below the list


def footer(
    printed: PrintedRows, there: RowCount, names: str, *, order: RowOrder | None, day: str, hidden: Sequence[str]
) -> list[Line]:
    """How many exchanges the list has, of how many; what it leaves out; and the next commands to type."""
    if not printed.count:
        empty = (
            f"None of {plural(there.all, 'exchange')} in {names} matches."
            if there.all
            else f"{names} holds no exchanges yet."
        )
        return [[Span(empty)]]
    cut = printed.count < there.chosen
    text = (
        f"{'First' if order else 'Newest'} {count(printed.count)} of {count(there.chosen)}"
        if cut
        else plural(printed.count, "exchange")
    )
    if there.chosen < there.all:
        text += f" matching ({count(there.all)} in {names})"
    else:
        text += f" in {names}"
    lines = [[Span(text + (f", {day}" if day else "") + ".")]]
    if printed.any_bundled:
        lines[0].append(Span("  * several tokens per chunk: CHUNK is not ITL."))
    if hidden:
        lines.append([Span(f"No room for {', '.join(hidden)}: widen the terminal, or --no-trunc.", "dim")])
    nearest = printed.first if order else printed.last
    if nearest is not None:
        step = [
            Span("Next:  ", "dim"),
            Span(f"replayproxy show {shlex.quote(nearest['cassette'])} {nearest['id']}"),
        ]
        if cut:
            step += [
                Span("    more:  ", "dim"),
                Span(f"-n {4 * printed.count}"),
                Span("    all:  ", "dim"),
                Span("-n 0"),
            ]
        lines.append(step)
    return lines
