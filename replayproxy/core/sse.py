"""Bytes to server-sent events, at any cut (WHATWG HTML §9.2.6).

A view for statistics and people. It is never on the data path: what it cannot read still replays byte for byte. Within
the standard library and the well-kept packages there is no push parser without I/O, hence these lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One dispatched event. `event` is `message` unless named; `data` joins its lines with a line feed."""

    event: str
    data: str


@dataclass(slots=True)
class Decoder:
    """Feed it bytes as they come; it gives the events that became complete.

    A line may end in CR, LF or CRLF, also across two feeds; UTF-8 may be cut anywhere; invalid UTF-8 becomes U+FFFD.
    An event that no blank line ends is never given (the standard says: discard it).
    """

    _rest: bytes = b""
    _begun: bool = False
    _after_cr: bool = False
    _name: str = ""
    _lines: list[str] | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events completed by these bytes."""
        data = self._rest + data
        if not self._begun:
            if len(data) < len(BOM) and BOM.startswith(data):
                self._rest = data
                return []
            data = data.removeprefix(BOM)
            self._begun = True
        if data and self._after_cr:
            data = data.removeprefix(b"\n")  # the other half of a CRLF; its CR has ended the line already
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        *lines, self._rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = (self._line(line.decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            name, lines = self._name, self._lines
            self._name, self._lines = "", None
            return Event(name or "message", "\n".join(lines)) if lines is not None else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            if self._lines is None:
                self._lines = []
            self._lines.append(value)
        elif field == "event":
            self._name = value
        return None


def events_of(pieces: Iterable[bytes]) -> Iterator[Event]:
    """All events of a whole stream; the cuts between the pieces do not matter."""
    decoder = Decoder()
    for piece in pieces:
        yield from decoder.feed(piece)


def encode(data: bytes, event: str = "") -> bytes:
    """One event with one line of data, as vLLM writes it."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"
