"""One text under another: JSON escapes and percent codes undone, with the way back to the bytes they were written as.

Works on any bytes: what is no escape stands for itself.
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
"""Different escapes of a block that are replaced one after the other."""

HIDDEN_ASCII = re.compile(rb"\\(?:u00[2-7][0-9a-fA-F]|/)")
"""An escape behind which a printable ASCII character hides: all that keys are made of."""


BLOCK_BYTES = 64 * 1024
"""Bytes that are read at once, about. Where each byte of a block is written is reckoned when somebody asks, a block at
a time: twenty megabytes of escapes would be three million places, and a gigabyte."""


class Unescaped:
    """A text as it reads, and where each of its bytes is written."""

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
        """Where the bytes from `start` to `stop` are written; an escape is there as a whole. `stop > start`."""
        return self._source_of(start)[0], self._source_of(stop - 1)[1]

    def _source_of(self, position: int) -> tuple[int, int]:
        """Where one byte is written."""
        number = max(0, min(bisect_right(self._text_starts, position) - 1, len(self._text_starts) - 2))
        begin = self._source_starts[number]
        if self._cached_block is None or self._cached_block[0] != number:
            source = self._source[begin : self._source_starts[number + 1]]
            self._cached_block = number, _Block(source, self._escape, self._read)
        start, stop = self._cached_block[1].source_of(position - self._text_starts[number])
        return begin + start, begin + stop


def _unescape(source: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> bytes:
    """A text with its escapes undone, at the speed of C where there are few different ones.

    Each is then replaced wherever it stands. That is the same as reading from the left only where no backslash is the
    second half of an escape, and none is what an escape reads.
    """
    if escape is _JSON and (different := set(_ANY_ESCAPE.findall(source))):
        if len(different) > MAX_REPLACED_ESCAPES or not _READS_BACKSLASH.isdisjoint(different):
            return escape.sub(read, source)
        for escaped in different:
            source = source.replace(escaped, _JSON_ESCAPES[escaped])
        return source
    return escape.sub(read, source)


class _Block:
    """Where each byte of a short text is written."""

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
        """Where one byte is written; an escape is there as a whole."""
        index = bisect_right(self._text_at, position) - 1
        if self._is_escape[index]:
            return self._source_at[index], self._source_at[index + 1]
        at = self._source_at[index] + position - self._text_at[index]
        return at, at + 1


def unescape_json(source: bytes) -> Unescaped:
    """JSON's escapes undone (RFC 8259 §7)."""
    return Unescaped(source, _JSON, lambda match: _JSON_ESCAPES[match[0]], _cut_between_escapes)


def unescape_percent(source: bytes) -> Unescaped:
    """Percent codes undone (RFC 3986 §2.1)."""
    return Unescaped(source, _PERCENT, lambda match: _PERCENT_CODES[match[0]], _cut_between_codes)


def _cut_between_escapes(source: bytes, start: int, place: int) -> int:
    """A place at most five bytes before `place` that no escape stands across."""
    for mark in range(place - 1, max(start, place - 6), -1):
        if source[mark] == _BACKSLASH:
            before = source[start : mark + 1]
            # Of many backslashes each second one belongs to the one before it.
            if (len(before) - len(before.rstrip(b"\\"))) % 2:
                escape = _JSON.match(source, mark)
                if escape is not None and escape.end() > place:
                    return mark
    return place


def _cut_between_codes(source: bytes, start: int, place: int) -> int:
    """A place at most two bytes before `place` that no percent code stands across."""
    mark = source.rfind(b"%", max(start, place - 2), place)
    return place if mark < 0 else mark


_BACKSLASH = 0x5C


class _JsonEscapes(dict[bytes, bytes]):
    """What each escape reads, remembered: a text of escapes has few different ones."""

    def __missing__(self, escape: bytes) -> bytes:
        if len(self) > 4096:
            self.clear()
        code = escape[2:]
        read = chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else _SHORT.get(escape[1:], escape[1:])
        self[escape] = read
        return read


class _PercentCodes(dict[bytes, bytes]):
    """What each percent code reads."""

    def __missing__(self, code: bytes) -> bytes:
        self[code] = read = bytes.fromhex(code[1:].decode())
        return read


_JSON_ESCAPES = _JsonEscapes()
_PERCENT_CODES = _PercentCodes()
