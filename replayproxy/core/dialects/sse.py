"""Bytes to server-sent events, at any cut (WHATWG HTML §9.2.6).

The one reader of event streams: for statistics, for people, and to know whether a stream has come to its end
(`stream_end`). It is never on the data path: what it cannot read still replays byte for byte. Within the standard
library and the well-kept packages there is no push parser without I/O, hence these lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"

LONGEST = 64 * 1024 * 1024
"""Bytes of one event's data that are kept: no stored body decodes to more (`coding.LIMIT`)."""

_LF, _CR = 10, 13


class Event(NamedTuple):
    """One dispatched event. `event` is `message` unless named; `data` joins its lines with a line feed."""

    event: str
    data: str


RawEvent = tuple[bytes, bytes]
"""Name and data of an event in bytes; the name is empty where there was none."""


@dataclass(slots=True)
class Decoder:
    """Feed it bytes as they come; it gives the events that became complete.

    A line may end in CR, LF or CRLF, also across two feeds; UTF-8 may be cut anywhere; invalid UTF-8 becomes U+FFFD.
    An event that no blank line ends is never given (the standard says: discard it).

    Takes time linear in what it is fed, and keeps no more than `longest` bytes of a line and of an event's data: of
    longer ones the beginning.
    """

    longest: int = LONGEST
    _rest: bytearray = field(default_factory=bytearray)
    """A line that has no end yet. New bytes are appended, never looked at again before the line ends."""
    _mark: bytes = b""
    _begun: bool = False
    _after_cr: bool = False
    _name: bytes = b""
    _lines: list[bytes] | None = None
    _size: int = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events completed by these bytes."""
        return [
            Event(name.decode("utf-8", "replace") or "message", content.decode("utf-8", "replace"))
            for name, content in self.feed_raw(data)
        ]

    def feed_raw(self, data: bytes) -> list[RawEvent]:
        """The events completed by these bytes, in bytes."""
        if not self._begun:
            data = self._without_mark(data)
        if not data:
            return []
        if self._after_cr and data[0] == _LF:
            data = data[1:]  # the other half of a CRLF; its CR has ended the line already
        self._after_cr = False
        if not data:
            return []
        lines = data.splitlines()  # of bytes, this knows CR, LF and CRLF and nothing else
        last = data[-1]
        self._after_cr = last == _CR
        rest = b"" if last in (_LF, _CR) else lines.pop()
        events: list[RawEvent] = []
        if lines:
            if self._rest:
                self._keep(lines[0])
                lines[0] = bytes(self._rest)
                self._rest = bytearray()
            for line in lines:
                if line:
                    self._field(line)
                    continue
                if self._lines is not None:
                    events.append((self._name, b"\n".join(self._lines)))
                    self._lines = None
                self._name, self._size = b"", 0
        if rest:
            self._keep(rest)
        return events

    def _without_mark(self, data: bytes) -> bytes:
        """A stream may begin with a byte order mark, which may come in parts."""
        data = self._mark + data
        if len(data) < len(BOM) and BOM.startswith(data):
            self._mark = data
            return b""
        self._begun, self._mark = True, b""
        return data.removeprefix(BOM)

    def _keep(self, part: bytes) -> None:
        """Append to the line that has no end yet, as far as there is room."""
        room = self.longest - len(self._rest)
        self._rest += part if len(part) <= room else part[: max(0, room)]

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            if self._lines is None:
                self._lines = []
            room = self.longest - self._size
            if room <= 0:
                return
            value = value.removeprefix(b" ")[:room]
            self._size += len(value) + 1  # and the line feed that joins it: a flood of empty lines has its bound too
            self._lines.append(value)
        elif name == b"event":
            self._name = value.removeprefix(b" ")[: self.longest]


def events_of(pieces: Iterable[bytes]) -> Iterator[Event]:
    """All events of a whole stream; the cuts between the pieces do not matter."""
    decoder = Decoder()
    for piece in pieces:
        yield from decoder.feed(piece)


def encode(data: bytes, event: str = "") -> bytes:
    """One event with one line of data, as vLLM writes it."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"
