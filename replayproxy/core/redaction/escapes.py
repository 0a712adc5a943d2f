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
FEW_ESCAPES = 16
"""Different escapes of a block that are replaced one after the other."""

HIDING = re.compile(rb"\\(?:u00[2-7][0-9a-fA-F]|/)")
"""An escape behind which a printable ASCII character hides: all that keys are made of."""


BLOCK = 64 * 1024
"""Bytes that are read at once, about. Where each byte of a block is written is reckoned when somebody asks, a block at
a time: twenty megabytes of escapes would be three million places, and a gigabyte."""


class Spelling:
    """A text as it reads, and where each of its bytes is written."""

    def __init__(
        self,
        written: bytes,
        escape: re.Pattern[bytes],
        read: Callable[[re.Match[bytes]], bytes],
        cut: Callable[[bytes, int, int], int],
    ) -> None:
        self._written = written
        self._escape = escape
        self._read = read
        self._written_from = [0]
        self._read_from = [0]
        self._fine: tuple[int, _Block] | None = None
        pieces: list[bytes] = []
        start = size = 0
        while start < len(written):
            stop = start + BLOCK
            stop = len(written) if stop >= len(written) else cut(written, start, stop)
            pieces.append(_undone(written[start:stop], escape, read))
            size += len(pieces[-1])
            self._written_from.append(stop)
            self._read_from.append(size)
            start = stop
        self.text = b"".join(pieces)

    def written(self, start: int, stop: int) -> tuple[int, int]:
        """Where the bytes from `start` to `stop` are written; an escape is there as a whole. `stop > start`."""
        return self._place(start)[0], self._place(stop - 1)[1]

    def _place(self, position: int) -> tuple[int, int]:
        """Where one byte is written."""
        number = max(0, min(bisect_right(self._read_from, position) - 1, len(self._read_from) - 2))
        begin = self._written_from[number]
        if self._fine is None or self._fine[0] != number:
            written = self._written[begin : self._written_from[number + 1]]
            self._fine = number, _Block(written, self._escape, self._read)
        start, stop = self._fine[1].place(position - self._read_from[number])
        return begin + start, begin + stop


def _undone(written: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> bytes:
    """A text with its escapes undone, at the speed of C where there are few different ones.

    Each is then replaced wherever it stands. That is the same as reading from the left only where no backslash is the
    second half of an escape, and none is what an escape reads.
    """
    if escape is _JSON and (different := set(_ANY_ESCAPE.findall(written))):
        if len(different) > FEW_ESCAPES or not _READS_BACKSLASH.isdisjoint(different):
            return escape.sub(read, written)
        for one in different:
            written = written.replace(one, _ESCAPES[one])
        return written
    return escape.sub(read, written)


class _Block:
    """Where each byte of a short text is written."""

    def __init__(self, written: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> None:
        self._read_at: list[int] = [0]
        self._written_at: list[int] = [0]
        self._escaped: list[bool] = [False]
        size = last = 0
        for match in escape.finditer(written):
            size += match.start() - last
            self._stand(size, match.start(), escaped=True)
            size += len(read(match))
            last = match.end()
            self._stand(size, last, escaped=False)

    def _stand(self, read_at: int, written_at: int, *, escaped: bool) -> None:
        self._read_at.append(read_at)
        self._written_at.append(written_at)
        self._escaped.append(escaped)

    def place(self, position: int) -> tuple[int, int]:
        """Where one byte is written; an escape is there as a whole."""
        index = bisect_right(self._read_at, position) - 1
        if self._escaped[index]:
            return self._written_at[index], self._written_at[index + 1]
        at = self._written_at[index] + position - self._read_at[index]
        return at, at + 1


def of_json(written: bytes) -> Spelling:
    """JSON's escapes undone (RFC 8259 §7)."""
    return Spelling(written, _JSON, lambda match: _ESCAPES[match[0]], _between_escapes)


def of_percent(written: bytes) -> Spelling:
    """Percent codes undone (RFC 3986 §2.1)."""
    return Spelling(written, _PERCENT, lambda match: _CODES[match[0]], _between_codes)


def _between_escapes(written: bytes, start: int, place: int) -> int:
    """A place at most five bytes before `place` that no escape stands across."""
    for mark in range(place - 1, max(start, place - 6), -1):
        if written[mark] == _BACKSLASH:
            before = written[start : mark + 1]
            # Of many backslashes each second one belongs to the one before it.
            if (len(before) - len(before.rstrip(b"\\"))) % 2:
                escape = _JSON.match(written, mark)
                if escape is not None and escape.end() > place:
                    return mark
    return place


def _between_codes(written: bytes, start: int, place: int) -> int:
    """A place at most two bytes before `place` that no percent code stands across."""
    mark = written.rfind(b"%", max(start, place - 2), place)
    return place if mark < 0 else mark


_BACKSLASH = 0x5C


class _Escapes(dict[bytes, bytes]):
    """What each escape reads, remembered: a text of escapes has few different ones."""

    def __missing__(self, escape: bytes) -> bytes:
        if len(self) > 4096:
            self.clear()
        code = escape[2:]
        read = chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else _SHORT.get(escape[1:], escape[1:])
        self[escape] = read
        return read


class _Codes(dict[bytes, bytes]):
    """What each percent code reads."""

    def __missing__(self, code: bytes) -> bytes:
        self[code] = read = bytes.fromhex(code[1:].decode())
        return read


_ESCAPES = _Escapes()
_CODES = _Codes()
