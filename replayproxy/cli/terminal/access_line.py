"""One line per request for people: what was asked, what the client got, how fast, and where it is recorded.

12:03:41 POST /v1/chat/completions tiny 200 64 tokens TTFT 201 ms 1.48 s recorded d146f967 "turns keeps…"
12:03:42 POST /v1/chat/completions tiny 404 miss no_match at $.messages[0].content
"""

from __future__ import annotations

from datetime import UTC, datetime

from replayproxy.cli.terminal.screen import Line, Span
from replayproxy.views.access import AccessEntry, Outcome
from replayproxy.views.units import duration

_BAD = (Outcome.MISS, Outcome.DAMAGED, Outcome.FAILED)


def line_of(entry: AccessEntry, width: int | None) -> Line:
    """Return the line of an entry, with its local time. Its first words end at `width`, if there is one."""
    bad = entry.outcome in _BAD or entry.status >= 500 or not entry.status
    line = [
        Span(f"{datetime.fromtimestamp(entry.at // 10**9, UTC).astimezone():%H:%M:%S} ", "dim"),
        Span(f"{entry.method} {entry.path} "),
        Span(f"{entry.model} " if entry.model else ""),
        Span(f"{entry.status or 'no answer'} ", "red" if bad else "yellow" if entry.status >= 400 else "green"),
    ]
    if entry.tokens is not None:
        line.append(Span(f"{entry.tokens} tokens "))
    if entry.ttft_s is not None:
        line.append(Span(f"TTFT {duration(entry.ttft_s)} "))
    if entry.outcome is not Outcome.MISS:
        line.append(Span(f"{duration(entry.total_s)} "))
    line.append(Span(_what(entry), "red" if bad else "bold"))
    if entry.ending != "complete" and entry.outcome is not Outcome.FAILED:
        line.append(Span(f" {entry.ending}", "yellow"))
    if entry.first_words:
        room = None if width is None else width - sum(len(span.text) for span in line) - len(' "…"')
        words = entry.first_words if room is None else entry.first_words[: max(0, room)]
        line.append(Span(f' "{words}…"' if words else "", "dim"))
    return line


def _what(entry: AccessEntry) -> str:
    match entry.outcome:
        case Outcome.MISS | Outcome.DAMAGED:
            return f"{entry.outcome} {entry.cause}" + (f" at {entry.differs}" if entry.differs else "")
        case Outcome.FAILED:
            return f"{entry.outcome} {entry.cause or entry.ending}"
    return f"{entry.outcome} {entry.id}" if entry.id else str(entry.outcome)
