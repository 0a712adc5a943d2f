"""When the head, each chunk and the end of an answer came, in bytes and back.

Times are gaps in 10 us, Golomb-Rice coded around their median (R. F. Rice, JPL 79-22, 1979): 0.50 % of the SSE bytes of
a real vLLM, where zstd needs 0.64 %. Reading trusts nothing. Knows no bodies and no clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from operator import le

from replayproxy.cassette import varint
from replayproxy.cassette.runs import MAX_CHUNKS
from replayproxy.errors import Damaged
from replayproxy.model import Response, Timeline

TICK = 10_000
"""Nanoseconds: the grain of stored times."""

MAX_TICK = 2**53
"""Of one answer: 2 855 years."""


def ticks_of(timeline: Timeline) -> list[int]:
    """Head, chunks and end in ticks."""
    return grained([timeline.head, *timeline.chunks, timeline.end])


def grained(times: Iterable[int]) -> list[int]:
    """Times in ticks, made non-decreasing (they are, but for a body that came with its head)."""
    ticks = [time // TICK for time in times]
    if not ticks or (ticks[0] >= 0 and all(map(le, ticks, ticks[1:]))):
        return ticks
    return list(accumulate((max(0, tick) for tick in ticks), max))


def as_read(response: Response) -> Response:
    """A response as it will be read again: its times are those of the cassette."""
    head, *chunks, end = (tick * TICK for tick in ticks_of(response.timeline))
    return replace(response, timeline=Timeline(head, tuple(chunks), end))


# Golomb-Rice

_ESCAPE = 12  # ones in a row; then six bits say how many bits the value has


def _parameter(values: Sequence[int]) -> int:
    """The Rice parameter that makes these shortest, within 0.1 %.

    Reckoned from how many values have how many bits: to try every parameter on every value was a quarter of what
    recording costs.
    """
    # Of n bits a value is 3/4 of 2^n on the average, and of its quotient half a unit is cut off.
    lengths = [
        (0.75 * 2.0**bits - 0.5 if bits else 0.0, bits, n) for bits, n in Counter(map(int.bit_length, values)).items()
    ]

    def size(k: int) -> float:
        unit = 2.0**k
        return sum(
            [
                n * (max(0.0, (value + 0.5) / unit - 0.5) + 1 + k if value < _ESCAPE * unit else _ESCAPE + 6 + bits)
                for value, bits, n in lengths
            ]
        )

    # The size falls and then rises: go down from where the mean says that the bottom is.
    most = min(20, 1 + max((bits for _, bits, _ in lengths), default=0)) - 1
    best = max(0, min(most, (sum(values) * 7 // (10 * len(values))).bit_length() - 1 if values else 0))
    smallest = size(best)
    for step in (1, -1):
        while 0 <= best + step <= most and (there := size(best + step)) < smallest:
            best, smallest = best + step, there
    return best


def _spell(value: int, k: int) -> str:
    """The bits of one value."""
    quotient = value >> k
    if quotient < _ESCAPE:
        return "1" * quotient + "0" + (f"{value & (1 << k) - 1:0{k}b}" if k else "")
    return "1" * _ESCAPE + f"{value.bit_length():06b}{value:b}"


@cache
def _spelled(k: int) -> list[str]:
    """The bits of the smallest values, which are most: looked up, they cost a tenth."""
    return [_spell(value, k) for value in range(min(_ESCAPE << k, 1024))]


def pack_times(ticks: Sequence[int]) -> bytes:
    """Non-decreasing times in ticks: count, first, median gap and Rice parameter as varints, then each gap's distance
    from the median: `q` ones, a zero, `k` bits; or twelve ones, a length of six bits, and so many bits.

    Raises ValueError for times that run backwards or beyond MAX_TICK.
    """
    if not ticks:
        return b"\0"
    if ticks[-1] > MAX_TICK:
        raise ValueError(f"an answer of {ticks[-1]} ticks is too long for a cassette")
    gaps = [after - before for before, after in pairwise(ticks)]
    if min(gaps, default=0) < 0 or ticks[0] < 0:
        raise ValueError("times run backwards")
    median = sorted(gaps)[len(gaps) // 2] if gaps else 0
    folded = [2 * (gap - median) if gap >= median else 2 * (median - gap) - 1 for gap in gaps]
    k = _parameter(folded)
    out = bytearray()
    for number in (len(ticks), ticks[0], median, k):
        varint.put(out, number)
    spelled = _spelled(k)
    # The 1 keeps leading zeros while this is a number.
    text = "1" + "".join([spelled[value] if value < len(spelled) else _spell(value, k) for value in folded])
    text += "0" * (-len(text) % 8)
    return bytes(out) + int(text, 2).to_bytes(len(text) // 8, "big")


def unpack_times(packed: bytes) -> list[int]:
    """The ticks again. Raises `Damaged`."""
    count, start = varint.read(packed, 0)
    if count == 0:
        return []
    first, start = varint.read(packed, start)
    median, start = varint.read(packed, start)
    k, start = varint.read(packed, start)
    if k > 20 or count > min(MAX_CHUNKS + 2, 8 * len(packed) + 1) or len(packed) > 40 + 11 * count:
        raise Damaged("stored times have the wrong shape")
    # One leading bit keeps the zeros behind it. Bits as text and a regular expression are 4 times faster than a loop.
    bits = f"{int.from_bytes(packed[start:], 'big'):b}"
    value = re.compile(f"(1{{0,{_ESCAPE - 1}}})0([01]{{{k}}})")
    run = re.compile(f"(?:{value.pattern})*")
    folded: list[int] = []
    at = 1
    while len(folded) < count - 1:
        stop = run.match(bits, at).end()  # type: ignore[union-attr]  # matches at least nothing
        folded += [len(ones) << k | int(rest or "0", 2) for ones, rest in value.findall(bits, at, stop)]
        if len(folded) >= count - 1:
            break
        at = stop + _ESCAPE + 6
        if len(bits) < at or not bits.startswith("1" * _ESCAPE, stop):
            raise Damaged("stored times end too early")
        length = int(bits[at - 6 : at], 2)
        folded.append(int(bits[at : at + length] or "0", 2))
        at += length
    gaps = [median - (fold >> 1) - 1 if fold & 1 else median + (fold >> 1) for fold in folded[: count - 1]]
    if gaps and min(gaps) < 0:
        raise Damaged("stored times run backwards")
    ticks = list(accumulate(gaps, initial=first))
    if ticks[-1] > MAX_TICK:
        raise Damaged("stored times are longer than any answer")
    return ticks
