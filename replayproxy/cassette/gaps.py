"""A Huffman code for the gaps between the chunks of one cassette's answers, trained on them.

How long a gap is says much about the next one: chunks that came in one read have no gap, and after a long one the
server catches up. So there is a code for each length of the previous gap, and a common one for where too few were seen.

    gap ──▶ symbol (its size in bits, and its 2 highest bits) · its other bits as they are

    [contexts, symbols of each code one after the other, 12 numbers per code: how many symbols have 1, 2, 3, … bits]

The common code stands first. What a code has no symbol for is escaped: 8 bits of symbol. Reading trusts nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgpack

from replayproxy.cassette.coding import huffman, untrusted
from replayproxy.errors import Damaged

LONGEST_CODE = 12
"""Bits of a code: the tables of twenty codes take half a megabyte."""

ESCAPE = 255
"""The symbol before another one that has no code here."""

FEWEST_GAPS = 2000
"""Of a cassette: of fewer a code does not pay."""

_FEWEST_IN_CONTEXT = 100
"""Gaps behind gaps of one length: of fewer a code of their own does not pay."""

_COMMON = 255
"""Context of the code for all gaps."""

_LARGEST = 211
"""The symbol of gaps of 54 bits."""

_REMEMBERED = 2048
"""Gaps whose bits are kept, for each code: a server's steps take a few hundred different numbers of ticks."""


class GapCode:
    """One that was stored. Raises `Damaged`."""

    def __init__(self, content: bytes) -> None:
        untrusted.steps_of(content, "plain", "plain", "numbers")
        contexts, symbols, counts = untrusted.array(content, 3)
        if not isinstance(contexts, bytes) or not isinstance(symbols, bytes) or not untrusted.are_counts(counts):
            raise Damaged("a stored code of gaps has the wrong shape")
        if not contexts.startswith(b"\xff") or len(contexts) > 60 or len(counts) != LONGEST_CODE * len(contexts):
            raise Damaged("a stored code of gaps has other contexts than codes")
        if any(symbol > _LARGEST and symbol != ESCAPE for symbol in symbols):
            raise Damaged("a stored code of gaps has a symbol that stands for nothing")
        at = 0
        codes: list[_Code] = []
        for index in range(len(contexts)):
            own = counts[LONGEST_CODE * index : LONGEST_CODE * (index + 1)]
            codes.append(_Code(symbols[at : at + sum(own)], own))
            at += sum(own)
        if at != len(symbols):
            raise Damaged("a stored code of gaps has another number of symbols than it says")
        self.codes = [codes[0]] * 64
        """By their contexts: the bits of the gap before."""
        for context, code in zip(contexts[1:], codes[1:], strict=True):
            self.codes[context & 63] = code

    def spell(self, gaps: Iterable[int]) -> bytes:
        """Their bits, the first one as if there had been none before. None is negative or has more than 54 bits."""
        codes, code, bits = self.codes, self.codes[0], []
        for gap in gaps:
            bits.append(code.bits(gap))
            code = codes[gap.bit_length()]
        return huffman.packed("".join(bits))

    def read(self, packed: bytes, count: int) -> list[int]:
        """So many gaps, which these bytes hold and nothing else. Raises `Damaged`."""
        size = 8 * len(packed)
        if not count <= size <= 80 * count + 7:
            raise Damaged("stored times are of another number")
        bits = f"{int.from_bytes(packed, 'big'):0{size}b}{0:0{LONGEST_CODE}b}"
        codes, code, at = self.codes, self.codes[0], 0
        gaps: list[int] = []
        try:
            for _ in range(count):
                symbol, at = code.read(bits, at)
                gaps.append(symbol)
                code = codes[symbol.bit_length()]
        except ValueError as error:  # far behind the end
            raise Damaged("stored times end too early") from error
        if not 0 <= size - at < 8:
            raise Damaged("stored times end too early or too late")
        return gaps


class _Code:
    """The code of one context."""

    def __init__(self, symbols: bytes, counts: Sequence[int]) -> None:
        code = huffman.Code(symbols, counts, LONGEST_CODE)
        self._code = code
        self._bits = dict(zip(symbols, code.codes(), strict=True))
        if ESCAPE not in self._bits or len(self._bits) != len(symbols):
            raise Damaged("a stored code of gaps has no escape, or a symbol twice")
        self._cached: dict[int, str] = {}

    def read(self, bits: str, at: int) -> tuple[int, int]:
        """The number whose bits begin there, and where they end. Raises ValueError behind the end, and `Damaged`."""
        symbol, length = self._code.table[int(bits[at : at + LONGEST_CODE], 2)]
        at += length
        if symbol > 7:
            if symbol == ESCAPE:
                symbol, at = int(bits[at : at + 8], 2), at + 8
                if symbol > _LARGEST:
                    raise Damaged("stored times have a symbol that stands for nothing")
            if symbol > 7:
                more = (symbol >> 2) - 1
                symbol = (4 | symbol & 3) << more | int(bits[at : at + more], 2)
                at += more
        return symbol, at

    def bits(self, gap: int) -> str:
        """The bits of one gap."""
        return self._cached.get(gap) or self._spell(gap)

    def _spell(self, gap: int) -> str:
        symbol, more = _symbol(gap)
        bits = self._bits.get(symbol)
        encoded = f"{self._bits[ESCAPE]}{symbol:08b}" if bits is None else bits
        if more:
            encoded += f"{gap & ((1 << more) - 1):0{more}b}"
        if len(self._cached) < _REMEMBERED:
            self._cached[gap] = encoded
        return encoded


def _symbol(gap: int) -> tuple[int, int]:
    """Its symbol, and how many bits follow it: a gap below 8 is its own symbol."""
    size = gap.bit_length()
    return (gap, 0) if size < 4 else ((size - 2) << 2 | (gap >> size - 3) & 3, size - 3)


def symbol_of(number: int) -> int:
    """The symbol of a gap, or of another number."""
    return _symbol(number)[0]


def train(gaps: Iterable[Sequence[int]]) -> bytes | None:
    """What is stored of a code for gaps like those of these answers; None where they are too few."""
    counted = [Counter[int]() for _ in range(64)]
    for answer in gaps:
        size = 0
        for gap in answer:
            counted[size][_symbol(gap)[0]] += 1
            size = gap.bit_length()
    if sum(map(Counter.total, counted)) < FEWEST_GAPS:
        return None
    return stored_code(counted)


def stored_code(counted: Sequence[Counter[int]]) -> bytes:
    """What is stored of a code for symbols that occur so often, in each context."""
    common = sum(counted, Counter[int]())
    contexts, symbols, counts = bytearray(), bytearray(), []
    for context, times in [(_COMMON, common), *enumerate(counted)]:
        if context != _COMMON and times.total() < _FEWEST_IN_CONTEXT:
            continue
        ranked = sorted(times | {ESCAPE: 1} | ({} if times else {0: 1}))
        lengths = huffman.lengths_of([times[symbol] or 1 for symbol in ranked], LONGEST_CODE)
        contexts.append(context)
        symbols += bytes(symbol for _, symbol in sorted(zip(lengths, ranked, strict=True)))
        by_length = Counter(lengths)
        counts += [by_length[length] for length in range(1, LONGEST_CODE + 1)]
    return bytes(msgpack.packb([bytes(contexts), bytes(symbols), counts]))
