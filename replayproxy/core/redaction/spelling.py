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

HIDING = re.compile(rb"\\(?:u00[2-7][0-9a-fA-F]|/)")
"""An escape behind which a printable ASCII character hides: all that keys are made of."""


class Spelling:
    """A text as it reads, and where each of its bytes is written."""

    def __init__(self, written: bytes, escape: re.Pattern[bytes], read: Callable[[re.Match[bytes]], bytes]) -> None:
        self._read_at: list[int] = [0]
        self._written_at: list[int] = [0]
        self._escaped: list[bool] = [False]
        pieces: list[bytes] = []
        size = last = 0
        for match in escape.finditer(written):
            pieces.append(written[last : match.start()])
            size += match.start() - last
            self._stand(size, match.start(), escaped=True)
            pieces.append(read(match))
            size += len(pieces[-1])
            last = match.end()
            self._stand(size, last, escaped=False)
        pieces.append(written[last:])
        self._end = len(written)
        self.text = b"".join(pieces)

    def _stand(self, read_at: int, written_at: int, *, escaped: bool) -> None:
        self._read_at.append(read_at)
        self._written_at.append(written_at)
        self._escaped.append(escaped)

    def written(self, start: int, stop: int) -> tuple[int, int]:
        """Where the bytes from `start` to `stop` are written; an escape is there as a whole. `stop > start`."""
        first, last = bisect_right(self._read_at, start) - 1, bisect_right(self._read_at, stop - 1) - 1
        begin = self._written_at[first] + (0 if self._escaped[first] else start - self._read_at[first])
        if self._escaped[last]:
            return begin, self._written_at[last + 1]
        return begin, self._written_at[last] + stop - self._read_at[last]


def of_json(written: bytes) -> Spelling:
    """JSON's escapes undone (RFC 8259 §7)."""
    return Spelling(written, _JSON, _json)


def of_percent(written: bytes) -> Spelling:
    """Percent codes undone (RFC 3986 §2.1)."""
    return Spelling(written, _PERCENT, lambda match: bytes.fromhex(match[1].decode()))


def _json(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code is None:
        return _SHORT.get(match[2], match[2])
    return chr(int(code, 16)).encode("utf-8", "surrogatepass")
