"""When the head, each chunk and the end of an answer came, in bytes and back.

Times are gaps in 10 us, in exponential Golomb codes around their median (J. Teuhola, IPL 7/6, 1978): most gaps are near
it, and some are far away. Of the SSE bytes of a real vLLM they take 0.60 %, where Golomb-Rice codes need 0.62 %, their
entropy is 0.58 %, and zstd needs 0.76 %. Reading trusts nothing. Knows no bodies and no clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from operator import le

from replayproxy.cassette.coding import varint
from replayproxy.cassette.coding.delta import MAX_CHUNKS
from replayproxy.cassette.coding.huffman import packed
from replayproxy.cassette.coding.untrusted import MAX_TICK
from replayproxy.cassette.gaps import GapCode
from replayproxy.errors import Damaged
from replayproxy.model import Response, Timeline

TICK = 10_000
"""Nanoseconds: the grain of stored times."""


def ticks_of(timeline: Timeline) -> list[int]:
    """Head, chunks and end in ticks."""
    return grained([timeline.head, *timeline.chunks, timeline.end])


def timeline_of(ticks: Sequence[int]) -> Timeline:
    """The other way; there are at least two."""
    head, *chunks, end = [tick * TICK for tick in ticks]
    return Timeline(head, tuple(chunks), end)


def grained(times: Iterable[int]) -> list[int]:
    """Times in ticks, made non-decreasing (they are, but for a body that came with its head)."""
    ticks = [time // TICK for time in times]
    if not ticks or (ticks[0] >= 0 and all(map(le, ticks, ticks[1:]))):
        return ticks
    return list(accumulate((max(0, tick) for tick in ticks), max))


def as_read(response: Response, ticks: Sequence[int] | None = None) -> Response:
    """A response as it will be read again: its times are those of the cassette. `ticks` are they, if known already."""
    return replace(response, timeline=timeline_of(ticks or ticks_of(response.timeline)))


# Exponential Golomb codes: of n ones and a zero, and k + n bits; n is 0 below 2^k, 1 below 3 * 2^k, 2 below 7 * 2^k, …

_ONES = 24  # at most: k is never less than the longest value needs for that
_MOST = 40  # of k; years need 31
_LOOKED_UP = 1024


def _parameter(values: Sequence[int]) -> int:
    """The k that makes these shortest, within 0.1 %.

    Reckoned from how many values have how many bits: to try every parameter on every value was a quarter of what
    recording costs.
    """
    lengths = Counter(map(int.bit_length, values)).items()

    def size(k: int) -> float:
        # Of the values from 2^(k + n) to 2^(k + n + 1), one in 2^n has n + 1 ones, and the others have n.
        ones = [(times, bits - k - 1 + 2.0 ** (k + 1 - bits) if bits > k else 0.0) for bits, times in lengths]
        return sum([times * (2 * n + 1 + k) for times, n in ones])

    # The size falls and then rises: go down from where the mean says that the bottom is.
    least = max(0, max(values, default=0).bit_length() - _ONES)
    best = max(least, min(_MOST, (sum(values) // (2 * len(values) + 1)).bit_length() - 1))
    smallest = size(best)
    for step in (1, -1):
        while least <= best + step <= _MOST and (there := size(best + step)) < smallest:
            best, smallest = best + step, there
    return best


def _spell(value: int, k: int) -> str:
    """The bits of one value."""
    bits = f"{value + (1 << k):b}"
    return "1" * (len(bits) - 1 - k) + "0" + bits[1:]


@cache
def _cached_bits(k: int) -> list[str]:
    """The bits of the smallest values, which are most: looked up, they cost a tenth."""
    return [_spell(value, k) for value in range(_LOOKED_UP)]


def pack_times(ticks: Sequence[int], code: tuple[int, GapCode] | None = None) -> bytes:
    """Non-decreasing times in ticks: count, first, median gap and k as varints, then each gap's distance from that.

    With a code and its number: 0, the number, count and first as varints, then the gaps in that code.

    Raises ValueError for times that run backwards or beyond MAX_TICK.
    """
    if not ticks:
        return b"\0"
    if ticks[-1] > MAX_TICK:
        raise ValueError(f"an answer of {ticks[-1]} ticks is too long for a cassette")
    gaps = [after - before for before, after in pairwise(ticks)]
    if min(gaps, default=0) < 0 or ticks[0] < 0:
        raise ValueError("times run backwards")
    if code is not None:
        number, spelling = code
        coded = bytearray((0,))
        for value in (number, len(ticks), ticks[0]):
            varint.put(coded, value)
        return bytes(coded) + spelling.spell(gaps)
    median = sorted(gaps)[len(gaps) // 2] if gaps else 0
    folded = [2 * (gap - median) if gap >= median else 2 * (median - gap) - 1 for gap in gaps]
    k = _parameter(folded)
    out = bytearray()
    for number in (len(ticks), ticks[0], median, k):
        varint.put(out, number)
    cached_bits = _cached_bits(k)
    bits = "".join([cached_bits[value] if value < _LOOKED_UP else _spell(value, k) for value in folded])
    return bytes(out) + packed(bits)


class _Values(dict[str, int]):
    """The values of bits, those that have been met: a look-up costs a tenth. Holds no more than `_LOOKED_UP`."""

    def __init__(self, k: int) -> None:
        self._k = k

    def __missing__(self, bits: str) -> int:
        # Filled as bits are met: a table of all small values takes longer to make than a short list takes to read.
        value = _value(bits, self._k)
        if len(self) < _LOOKED_UP:
            self[bits] = value
        return value


@cache
def _code(k: int) -> tuple[re.Pattern[str], _Values]:
    """What finds one value after the other, or at once all of what is none; and the values that have been met."""
    pattern = f"0[01]{{{_ONES + k}}}"
    for ones in range(_ONES - 1, -1, -1):
        pattern = f"0[01]{{{ones + k}}}|1(?:{pattern})"
    return re.compile(f"{pattern}|.+"), _Values(k)


def _is_value(bits: str, k: int) -> bool:
    ones = bits.find("0")
    return 0 <= ones <= _ONES and len(bits) == 2 * ones + 1 + k


def _value(bits: str, k: int) -> int:
    """The value of these bits."""
    return int("1" + bits[bits.index("0") + 1 :], 2) - (1 << k)


def _no_code(_: int) -> GapCode:
    raise Damaged("stored times need a code that is not on the cassette")


def unpack_times(stored: bytes, code_of: Callable[[int], GapCode] = _no_code) -> list[int]:
    """The ticks again. `code_of` looks up a code by its number. Raises `Damaged`."""
    count, start = varint.read(stored, 0)
    if count == 0:
        return _coded(stored, code_of) if len(stored) > 1 else []
    first, start = varint.read(stored, start)
    median, start = varint.read(stored, start)
    k, start = varint.read(stored, start)
    if k > _MOST or count > min(MAX_CHUNKS + 2, 8 * len(stored) + 1) or len(stored) > 40 + 11 * count:
        raise Damaged("stored times have the wrong shape")
    # Bits as text and a regular expression are 4 times faster than a loop.
    bits = f"{int.from_bytes(stored[start:], 'big'):0{8 * (len(stored) - start)}b}"
    values, cached_values = _code(k)
    found = values.findall(bits)[: count - 1]
    if len(found) < count - 1 or (found and not _is_value(found[-1], k)):
        raise Damaged("stored times end too early")
    folded = [cached_values[one] for one in found]
    gaps = [median - (fold >> 1) - 1 if fold & 1 else median + (fold >> 1) for fold in folded]
    if gaps and min(gaps) < 0:
        raise Damaged("stored times run backwards")
    return _ticks(first, gaps)


def _coded(stored: bytes, code_of: Callable[[int], GapCode]) -> list[int]:
    number, start = varint.read(stored, 1)
    count, start = varint.read(stored, start)
    first, start = varint.read(stored, start)
    if not 0 < count <= min(MAX_CHUNKS + 2, 8 * len(stored) + 1):
        raise Damaged("stored times have the wrong shape")
    return _ticks(first, code_of(number).read(stored[start:], count - 1))


def _ticks(first: int, gaps: Sequence[int]) -> list[int]:
    ticks = list(accumulate(gaps, initial=first))
    if ticks[-1] > MAX_TICK:
        raise Damaged("stored times are longer than any answer")
    return ticks
