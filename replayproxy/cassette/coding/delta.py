"""The chunks of an answer, each against the one before it.

A streamed answer repeats itself: each chunk differs from the one before only in the middle. So a chunk is coded as how
much of the previous chunk's beginning and end it shares, and what stands between; equal shares make a run:

    data: {"id":"x","choices":[{"delta":{"content":" the"}}]}     runs     (prefix, suffix, how many chunks)
    data: {"id":"x","choices":[{"delta":{"content":" sea"}}]}     middles  " the", " sea", …

Knows no events and no tokens: any bytes at any cuts come back. Reading trusts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise

from replayproxy.errors import Damaged

MAX_CHUNKS = 4 * 1024 * 1024
"""Of one answer: 256 MB in token events of 64 bytes."""

_COMPARED = 4096  # bytes; chunks longer than that are not token events
_KEPT = 24  # bytes of middle; a longer one is worth looking for a better run
_WORTH = 4  # bytes that a new run must save, about what it costs


def runs_of(chunks: Iterable[bytes]) -> tuple[list[int], list[bytes]]:
    """Three numbers a run, and the middle of each chunk."""
    runs: list[int] = []
    middles: list[bytes] = []
    before = beginning = end = b""
    prefix = suffix = count = 0
    for chunk in chunks:
        stop = len(chunk) - suffix
        holds = prefix <= stop and chunk.startswith(beginning) and chunk.endswith(end)
        if not holds or stop - prefix > _KEPT or not count:
            new_prefix, new_suffix = _shared(before, chunk)
            saved = (stop - prefix) - (len(chunk) - new_prefix - new_suffix)
            if not holds or saved >= _WORTH or not count:
                if count:
                    runs += (prefix, suffix, count)
                prefix, suffix, count = new_prefix, new_suffix, 0
                # The same for all chunks of a run: to cut them anew from each one before would cost a third of this.
                beginning, end = chunk[:prefix], chunk[len(chunk) - suffix :]
                stop = len(chunk) - suffix
        count += 1
        middles.append(chunk[prefix:stop])
        before = chunk
    if count:
        runs += (prefix, suffix, count)
    return runs, middles


def _shared(before: bytes, chunk: bytes) -> tuple[int, int]:
    """Lengths of the common prefix and, in what is left, suffix. Whole numbers compare at C speed."""
    length = min(len(before), len(chunk))
    if not 0 < length <= _COMPARED:
        return 0, 0
    differ = int.from_bytes(before[:length], "big") ^ int.from_bytes(chunk[:length], "big")
    prefix = length - (differ.bit_length() + 7) // 8
    rest = length - prefix
    if not rest:
        return prefix, 0
    differ = int.from_bytes(before[-rest:], "big") ^ int.from_bytes(chunk[-rest:], "big")
    return prefix, (((differ & -differ).bit_length() - 1) // 8 if differ else rest)


def chunks_of(runs: list[int], middles: list[bytes], size: int) -> list[bytes]:
    """The chunks again, at most `size` bytes of them. Raises `Damaged`."""
    counts = runs[2::3]
    if len(runs) % 3 or sum(counts) != len(middles):
        raise Damaged("a stored answer has another number of middles than of chunks")
    chunks: list[bytes] = []
    before, length, position = b"", 0, 0
    for prefix, suffix, count in zip(runs[::3], runs[1::3], counts, strict=True):
        for middle in middles[position : position + count]:
            if prefix + suffix > len(before):
                raise Damaged("a stored answer refers to bytes that are not there")
            before = before[:prefix] + middle + before[len(before) - suffix :]
            length += len(before)
            if length > size:
                raise Damaged("a stored answer is longer than its row says")
            chunks.append(before)
        position += count
    return chunks


def cut(content: bytes, cuts: list[int], size: int) -> list[bytes]:
    """A body of at most `size` bytes in its chunks, where they are stored as they are. Raises `Damaged`."""
    if sum(cuts) != len(content):
        raise Damaged("a stored answer's cuts do not cover its body")
    if len(content) > size:
        raise Damaged("a stored answer is longer than its row says")
    return [content[start:stop] for start, stop in pairwise(accumulate(cuts, initial=0))]
