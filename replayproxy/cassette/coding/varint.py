"""Numbers in as few bytes as they need: seven bits a byte, the low ones first; the eighth says that there are more.

LEB128, as in DWARF and protocol buffers. Reading trusts nothing.
"""

from __future__ import annotations

from replayproxy.errors import Damaged


def put(out: bytearray, number: int) -> None:
    """Append a number that is not negative."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def read(data: bytes, start: int) -> tuple[int, int]:
    """The number that begins there, below 2^63, and where the next one does. Raises `Damaged`."""
    value = shift = 0
    while start < len(data) and shift < 63:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise Damaged("a stored number does not end")
