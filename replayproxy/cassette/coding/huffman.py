"""Canonical Huffman codes: the shorter, the more frequent (D. A. Huffman, Proc. IRE 40, 1952).

Canonical: symbols stand in the order of their codes, and codes of one length count up, so that how many symbols have
which length says all of a code.

    symbols  e    t    a    o    …      lengths  how many have 1, 2, 3, … bits
    codes    00   010  011  100  …

Reading trusts nothing: a code that is incomplete, or longer than `LONGEST`, is damage. Knows nothing of what its
symbols stand for.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

from replayproxy.errors import Damaged

LONGEST = 15
"""Bits of a code: enough for 32 768 symbols, and a table of all beginnings stays small."""


def lengths_of(frequencies: Sequence[int], longest: int = LONGEST) -> list[int]:
    """How many bits each of at least two symbols gets, with frequencies above zero; at most `longest`."""
    while True:
        lengths = _optimal(frequencies)
        if max(lengths) <= longest:
            return lengths
        # As bzip2 does: the rare ones come nearer to the frequent ones, until the tree is low enough.
        frequencies = [frequency // 2 + 1 for frequency in frequencies]


def _optimal(frequencies: Sequence[int]) -> list[int]:
    heap = [(frequency, node) for node, frequency in enumerate(frequencies)]
    heapq.heapify(heap)
    parents = [0] * (2 * len(frequencies) - 1)
    for node in range(len(frequencies), len(parents)):
        (one, first), (other, second) = heapq.heappop(heap), heapq.heappop(heap)
        parents[first] = parents[second] = node
        heapq.heappush(heap, (one + other, node))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[: len(frequencies)]


Symbol = TypeVar("Symbol")


class Code(Generic[Symbol]):
    """Symbols in the order of their codes, and how many of them have 1, 2, 3, … bits. Raises `Damaged`."""

    def __init__(self, symbols: Sequence[Symbol], counts: Sequence[int], longest: int = LONGEST) -> None:
        if (
            not all(type(count) is int and 0 <= count <= 1 << LONGEST for count in counts)
            or len(counts) > longest
            or sum(counts) != len(symbols)
            or sum(count << LONGEST - length for length, count in enumerate(counts, 1)) != 1 << LONGEST
        ):
            raise Damaged("a stored Huffman code is none")
        self._symbols = symbols
        self._longest = longest
        self._lengths = [length for length, count in enumerate(counts, 1) for _ in range(count)]

    def codes(self) -> list[str]:
        """The bits of each symbol, as text."""
        codes, code, before = [], 0, 0
        for length in self._lengths:
            code <<= length - before
            codes.append(f"{code:0{length}b}")
            code, before = code + 1, length
        return codes

    @cached_property
    def table(self) -> list[tuple[Symbol, int]]:
        """What each possible beginning of so many bits as the longest code may have begins with."""
        table: list[tuple[Symbol, int]] = []
        for symbol, length in zip(self._symbols, self._lengths, strict=True):
            table += [(symbol, length)] * (1 << self._longest - length)
        return table

    def read(self, packed: bytes, count: int) -> list[Symbol]:
        """So many symbols, which these bytes hold and nothing else. Raises `Damaged`."""
        size = 8 * len(packed)
        longest = self._longest
        if not count <= size <= longest * count + 7:
            raise Damaged("stored codes are of another number")
        # A look-up of 15 bits at a time, cut out of a text: a third of what shifting numbers costs.
        bits = f"{int.from_bytes(packed, 'big'):0{size}b}{0:0{longest}b}"
        table, at = self.table, 0
        symbols: list[Symbol] = []
        try:
            for _ in range(count):
                symbol, length = table[int(bits[at : at + longest], 2)]
                symbols.append(symbol)
                at += length
        except ValueError as error:  # far behind the end
            raise Damaged("stored codes end too early") from error
        if not 0 <= size - at < 8:
            raise Damaged("stored codes end too early or too late")
        return symbols


def packed(bits: str) -> bytes:
    """Codes one after the other, in bytes; zeros fill the last one."""
    size = (len(bits) + 7) // 8
    return int(bits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")
