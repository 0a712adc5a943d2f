"""`show --print`: the parts that the letters name, like httpie: H h heads, B b bodies, t times, m everything known.

On a terminal JSON is spread out and nothing may move the cursor; `--raw` into a pipe gives the bytes as they were.
"""

from __future__ import annotations

from collections.abc import Iterator

from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, Row, layout
from replayproxy.core import coding
from replayproxy.model import Headers
from replayproxy.views import body
from replayproxy.views.exchange import ExchangeView, chunk_rows
from replayproxy.views.units import count, duration, size

LETTERS = "mHBhbt"
"""In the order in which they are printed."""


def _says(row: Row) -> str:
    """The text that a chunk adds, in quotes; or, where it adds none, what it is."""
    return f'"{row["text"]}"' if row["text"] else str(row["data"]).strip()


CHUNKS = [
    Column("#", lambda row: str(row["chunk"])),
    Column("AT", lambda row: duration(row["at_s"])),
    Column("GAP", lambda row: "" if row["gap_s"] is None else duration(row["gap_s"])),
    Column("BYTES", lambda row: count(row["bytes"])),
    Column("SAYS", _says, style=lambda row: "" if row["text"] else "dim", left=True, flexible=12),
]


def parts(it: ExchangeView, letters: str, screen: Screen, *, trunc: bool) -> None:
    """The parts named by the letters, in the order they happened."""
    request, response = it.exchange.request, it.response
    between = False
    for letter in LETTERS:
        if letter not in letters:
            continue
        if between:
            screen.line()
        between = True
        match letter:
            case "m":
                widest = max(map(len, it.row))
                for name, value in it.row.items():
                    screen.line(Span(name.ljust(widest + 2), "dim"), "" if value is None else str(value))
            case "H":
                _head(screen, f"{request.method} {request.target} HTTP/1.1", request.headers)
            case "B":
                _body(screen, coding.body_of(request))
            case "h":
                _head(screen, f"HTTP/1.1 {response.status}" if response.status else "no answer", response.headers)
            case "b":
                _body(screen, coding.decoded(response))
            case "t":
                measured = layout(CHUNKS, rows := list(chunk_rows(it)), screen.width if trunc else None)
                screen.lines([measured.heading(), *map(measured.row, rows)])


def raw_parts(it: ExchangeView, letters: str) -> Iterator[bytes]:
    """The same parts as they were, byte for byte; `m` and `t` have no bytes."""
    request, response = it.exchange.request, it.response
    for letter in "HBhb":
        if letter in letters:
            match letter:
                case "H":
                    yield _raw_head(f"{request.method} {request.target} HTTP/1.1", request.headers)
                case "B":
                    yield request.body
                case "h":
                    yield _raw_head(f"HTTP/1.1 {response.status}", response.headers)
                case "b":
                    yield response.body


def _raw_head(first: str, fields: Headers) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _head(screen: Screen, first: str, fields: Headers) -> None:
    screen.line(Span(first, "bold"))
    for name, value in fields:
        screen.line(Span(name, "cyan"), f": {value}")


def _body(screen: Screen, content: bytes) -> None:
    text = body.as_text(body.pretty(content) if screen.is_terminal else content)
    if text is None:
        screen.line(Span(f"({size(len(content))} that are no text; --raw > FILE writes them)", "dim"))
    elif text:
        screen.text(text)
