"""Msgpack of strangers: read within limits, and every shape checked. Raises `Damaged` and nothing else."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, TypeGuard

import msgpack

from replayproxy.cassette.runs import MAX_CHUNKS
from replayproxy.cassette.times import MAX_TICK
from replayproxy.errors import Damaged
from replayproxy.model import Headers

MAX_BODY = 256 * 1024 * 1024
"""Bytes. No answer and no request on a cassette is longer."""

MAX_FIELDS = 16 * 1024
"""Field lines of one message: those of a head of 64 KiB, and more."""

MAX_BEFORE_FIELDS = 1024 * 1024
"""Bytes that may stand before them: a query."""

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


def refuse_many_fields(data: bytes, before: int) -> None:
    """Look at the number of field lines behind so many other things, before any of them is made an object of.

    A line takes three bytes there and two hundred in memory.
    """
    reader = msgpack.Unpacker(max_buffer_size=MAX_BEFORE_FIELDS)
    reader.feed(data[:MAX_BEFORE_FIELDS])
    try:
        reader.read_array_header()
        for _ in range(before):
            reader.skip()
        number = reader.read_array_header()
    except (ValueError, msgpack.exceptions.UnpackException):
        return  # it is something else, which is said when it is read
    if number > MAX_FIELDS:
        raise Damaged(f"a stored message has {number} header fields: no recorder writes more than {MAX_FIELDS}")


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
