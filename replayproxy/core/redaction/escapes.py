"""Undo JSON escapes and percent codes, and map each span of the result back to the source.

Works on any bytes: a byte that is not part of an escape stands for itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

_JSON = re.compile(rb'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SHORT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")

_ANY_ESCAPE = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')
_READS_BACKSLASH = frozenset((rb"\\", rb"\u005c", rb"\u005C"))
MAX_REPLACED_ESCAPES = 16
"""Number of different escapes of a block up to which each is replaced by `bytes.replace`."""

HIDDEN_ASCII = re.compile(rb"\\(?:u00[2-7][0-9a-fA-F]|/)")
"""An escape that encodes a printable ASCII character: keys consist of nothing else."""


BLOCK_BYTES = 64 * 1024
"""Approximate bytes per block. Source positions are computed per block on demand: 20 MB of escapes would be three
million positions, 1 GB of memory."""


class Unescaped:
    """A text with its escapes undone, and the source span of each of its bytes."""

    def __init__(
        self,
        source: bytes,
        escape: re.Pattern[bytes],
        read: Callable[[re.Match[bytes]], bytes],
        cut: Callable[[bytes, int, int], int],
    ) -> None:
        self._source = source
        self._escape = escape
        self._read = read
        self._source_starts = [0]
        self._text_starts = [0]
        self._cached_block: tuple[int, _Block] | None = None
        pieces: list[bytes] = []
        start = size = 0
        while start < len(source):
            stop = start + BLOCK_BYTES
            stop = len(source) if stop >= len(source) else cut(source, start, stop)
            pieces.append(_unescape(source[start:stop], escape, read))
            size += len(pieces[-1])
            self._source_starts.append(stop)
            self._text_starts.append(size)
            start = stop
        self.text = b"".join(pieces)

    def source_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the source span of the bytes from `start` to `stop` (`stop > start`). Escapes are included whole."""
        return self._source_of(start)[0], self._source_of(stop - 1)[1]

    def _source_of(self, position: int) -> tuple[int, int]:
        """Return the source span of one byte."""
        number = max(0, min(bisect_right(self._text_starts, position) - 1, len(self._text_starts) - 2))
        begin = self._source_starts[number]
        if self._cached_block is None or self._cached_block[0] != number:
            source = self._source[begin : self._source_starts[number + 1]]
            self._cached_block = number, _Block(source, self._escape, self._read)
        start, stop = self._cached_block[1].source_of(position - self._text_starts[number])
        return begin + start, begin + stop


def _unescape(source: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> bytes:
    """Undo the escapes of a text, by `bytes.replace` if it has few different ones."""
    if escape is _JSON and (different := set(_ANY_ESCAPE.findall(source))):
        # To replace each one everywhere equals reading from the left only if no escape encodes a backslash: else the
        # second backslash of one escape could be taken for the start of another.
        if len(different) > MAX_REPLACED_ESCAPES or not _READS_BACKSLASH.isdisjoint(different):
            return escape.sub(read, source)
        for escaped in different:
            source = source.replace(escaped, _JSON_ESCAPES[escaped])
        return source
    return escape.sub(read, source)


class _Block:
    """The source positions of each byte of a short text."""

    def __init__(self, source: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> None:
        self._text_at: list[int] = [0]
        self._source_at: list[int] = [0]
        self._is_escape: list[bool] = [False]
        size = last = 0
        for match in escape.finditer(source):
            size += match.start() - last
            self._add_boundary(size, match.start(), escaped=True)
            size += len(read(match))
            last = match.end()
            self._add_boundary(size, last, escaped=False)

    def _add_boundary(self, read_at: int, written_at: int, *, escaped: bool) -> None:
        self._text_at.append(read_at)
        self._source_at.append(written_at)
        self._is_escape.append(escaped)

    def source_of(self, position: int) -> tuple[int, int]:
        """Return the source span of one byte; an escape is one span."""
        index = bisect_right(self._text_at, position) - 1
        if self._is_escape[index]:
            return self._source_at[index], self._source_at[index + 1]
        at = self._source_at[index] + position - self._text_at[index]
        return at, at + 1


def unescape_json(source: bytes) -> Unescaped:
    """Undo JSON escapes (RFC 8259 §7)."""
    return Unescaped(source, _JSON, lambda match: _JSON_ESCAPES[match[0]], _cut_between_escapes)


def unescape_percent(source: bytes) -> Unescaped:
    """Undo percent codes (RFC 3986 §2.1)."""
    return Unescaped(source, _PERCENT, lambda match: _PERCENT_CODES[match[0]], _cut_between_codes)


def _cut_between_escapes(source: bytes, start: int, place: int) -> int:
    """Return a position at most five bytes before `place` that is not within an escape."""
    for mark in range(place - 1, max(start, place - 6), -1):
        if source[mark] == _BACKSLASH:
            before = source[start : mark + 1]
            # In a run of backslashes each second one is the second half of an escape.
            if (len(before) - len(before.rstrip(b"\\"))) % 2:
                escape = _JSON.match(source, mark)
                if escape is not None and escape.end() > place:
                    return mark
    return place


def _cut_between_codes(source: bytes, start: int, place: int) -> int:
    """Return a position at most two bytes before `place` that is not within a percent code."""
    mark = source.rfind(b"%", max(start, place - 2), place)
    return place if mark < 0 else mark


_BACKSLASH = 0x5C


class _JsonEscapes(dict[bytes, bytes]):
    """Cache of what each escape encodes: a text has few different ones."""

    def __missing__(self, escape: bytes) -> bytes:
        if len(self) > 4096:
            self.clear()
        code = escape[2:]
        read = chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else _SHORT.get(escape[1:], escape[1:])
        self[escape] = read
        return read


class _PercentCodes(dict[bytes, bytes]):
    """Cache of what each percent code encodes."""

    def __missing__(self, code: bytes) -> bytes:
        self[code] = read = bytes.fromhex(code[1:].decode())
        return read


_JSON_ESCAPES = _JsonEscapes()
_PERCENT_CODES = _PercentCodes()
