"""Msgpack of strangers: read within limits, and every shape checked. Raises `Damaged` and nothing else."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Literal, TypeGuard

import msgpack

from replayproxy.cassette.budget import BYTES, FIELD, NUMBERS
from replayproxy.cassette.coding.delta import MAX_CHUNKS
from replayproxy.errors import Damaged
from replayproxy.model import Headers

MAX_BODY = 256 * 1024 * 1024
"""Bytes. No answer and no request on a cassette is longer."""

MAX_FIELDS = 16 * 1024
"""Field lines of one message: those of a head of 64 KiB, and more."""

MAX_TICK = 2**53
"""Ticks of 10 us between the request and the end of one answer: 2 855 years."""

FEW = 4096
"""Bytes: so few are at once made objects of, whatever they are."""

_NIL = 0xC0

Kind = Literal["plain", "fields", "numbers", "head", "content"]
"""Of an element. `plain` is no list; `head` is nil, or two of these and fields; `content` is plain, or up to three."""

_LIMITS: dict[str, Any] = {
    "strict_map_key": True,
    "max_ext_len": 0,
    "max_map_len": 0,
    "max_array_len": 3 * MAX_CHUNKS,  # a run each: three numbers
    "max_str_len": MAX_BODY,
    "max_bin_len": MAX_BODY,
}


def array(data: bytes, *lengths: int) -> list[Any]:
    """A list of so many things; where several numbers are given, of any of these."""
    try:
        value = msgpack.unpackb(data, **_LIMITS)
    except (ValueError, msgpack.exceptions.UnpackException, MemoryError) as error:
        raise Damaged(f"stored msgpack cannot be read: {error}") from error
    if not isinstance(value, list) or len(value) not in lengths:
        raise Damaged("stored msgpack has the wrong shape")
    return value


def steps_of(data: bytes, *kinds: Kind) -> int:
    """Look at the elements of a list, before any of them is made an object of: a byte there may be a hundred in memory.

    Gives how many steps it takes to read them (`budget`). Raises `Damaged` for what is not of these kinds.
    """
    if len(data) <= FEW:
        return len(data) // BYTES
    reader = msgpack.Unpacker(max_buffer_size=len(data))
    reader.feed(data)
    try:
        length = reader.read_array_header()
        return len(data) // BYTES + sum([_steps_of_one(reader, data, kind) for kind in kinds[:length]])
    except (ValueError, IndexError, msgpack.exceptions.UnpackException) as error:
        raise Damaged(f"stored msgpack cannot be read: {error}") from error


def _steps_of_one(reader: msgpack.Unpacker, data: bytes, kind: Kind) -> int:
    first, start = data[reader.tell()], reader.tell()
    if kind == "fields":
        return _steps_of_fields(reader, data)
    if kind == "numbers":
        length = _length(data, start)
        reader.skip()
        if reader.tell() - start > 5 + 9 * length:
            raise Damaged("stored numbers are none")
        return length // NUMBERS
    if kind == "head" and first != _NIL:
        if reader.read_array_header() != 3:
            raise Damaged("a stored segment has a head of the wrong shape")
        return sum(_steps_of_one(reader, data, part) for part in ("plain", "plain", "fields"))
    if kind == "content" and _is_nested(first):
        length = reader.read_array_header()
        if length > 3:
            raise Damaged("a stored answer has the wrong shape")
        return sum(_steps_of_one(reader, data, "plain") for _ in range(length))
    if _is_nested(first):
        raise Damaged("stored msgpack has the wrong shape")
    reader.skip()
    return 0


def _steps_of_fields(reader: msgpack.Unpacker, data: bytes) -> int:
    number = reader.read_array_header()
    if number > MAX_FIELDS:
        raise Damaged(f"a stored message has {number} header fields: no recorder writes more than {MAX_FIELDS}")
    for _ in range(number):
        if reader.read_array_header() != 2:
            raise Damaged("a stored header has the wrong shape")
        for _ in range(2):
            if _is_nested(data[reader.tell()]):
                raise Damaged("a stored header has the wrong shape")
            reader.skip()
    return FIELD * int(number)


def _length(data: bytes, at: int) -> int:
    """That of the list that begins there."""
    first = data[at]
    if first & 0xF0 == 0x90:
        return first & 15
    if first not in (0xDC, 0xDD):
        raise Damaged("stored numbers are none")
    return int.from_bytes(data[at + 1 : at + (3 if first == 0xDC else 5)], "big")


def _is_nested(first: int) -> bool:
    """Whether it begins a list or a map."""
    return 0x80 <= first <= 0x9F or 0xDC <= first <= 0xDF


def headers(value: object) -> Headers:
    """Field lines that can be sent."""
    if not isinstance(value, list):
        raise Damaged("stored headers have the wrong shape")
    lines = []
    for line in value:
        if not isinstance(line, list) or len(line) != 2 or not all(isinstance(part, str) for part in line):
            raise Damaged("a stored header has the wrong shape")
        if any(mark in part for part in line for mark in "\r\n\0"):
            raise Damaged("a stored header holds the end of a line: a replay would send a head that is not one")
        lines.append((line[0], line[1]))
    return tuple(lines)


def indexes(steps: object, length: int) -> tuple[int, ...]:
    """Ascending indexes below `length`, stored by their distances."""
    if not are_counts(steps):
        raise Damaged("stored indexes have the wrong shape")
    found = tuple(accumulate(steps, initial=-1))[1:]
    if 0 in steps or (found and found[-1] >= length):
        raise Damaged("stored indexes do not ascend, or lie beyond what they count")
    return found


def is_count(number: object) -> bool:
    """Whether it can be a length or a number of things."""
    return type(number) is int and 0 <= number <= MAX_BODY


def are_counts(numbers: object) -> TypeGuard[list[int]]:
    """Whether it is a list of lengths."""
    return isinstance(numbers, list) and all(map(is_count, numbers))


def are_times(numbers: object) -> bool:
    """Whether it is a list of ticks."""
    return isinstance(numbers, list) and all(type(number) is int and 0 <= number <= MAX_TICK for number in numbers)
