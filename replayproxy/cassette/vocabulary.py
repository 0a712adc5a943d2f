"""The words of a cassette: what its answers say again and again, and a code for each.

Codes are of one of two kinds. Bytes, one for the frequent words and two for the others, leave zstd its matches: best
where answers repeat phrases, as prose and source do (by 3 to 29 %). Bits of a Huffman code spend on each word what it
is worth: best where words follow one another as they please (by 10 %), and zstd is kept away from them. Who trains a
vocabulary tries both.

    [lengths, escape, "the\\0 sea\\0…"]      in msgpack; lengths of a Huffman code, none: bytes

What has no word is escaped and spelled out. Reading trusts nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgpack

from replayproxy.cassette import huffman, shapes
from replayproxy.errors import Damaged

MAX_WORDS = 8192
LONGEST_WORD = 63  # bytes
FEWEST_WORDS = 65  # fewer do not pay

_ONE_BYTE = 192  # codes below are one byte long

Said = Mapping[bytes, int]
"""What stands between the shared ends of chunks, and how often."""


class Vocabulary:
    """One that was stored. Raises `Damaged`."""

    def __init__(self, content: bytes) -> None:
        shapes.steps_of(content, "numbers", "plain", "plain")  # its own: how many there may be is bounded
        counts, escape, words = shapes.array(content, 3)
        if not isinstance(counts, list) or not shapes.is_count(escape) or not isinstance(words, bytes):
            raise Damaged("a stored vocabulary has the wrong shape")
        self.words = words.split(b"\0", MAX_WORDS)
        if len(self.words) > MAX_WORDS or escape > len(self.words) or max(map(len, self.words)) > LONGEST_WORD:
            raise Damaged("a stored vocabulary is too long")
        self._symbols: list[bytes | None] = [*self.words[:escape], None, *self.words[escape:]]
        self._code = huffman.Code(self._symbols, counts) if counts else None
        self._bits: dict[bytes | None, str] = {}
        self._bytes: dict[bytes | None, bytes] = {}

    @property
    def has_bits(self) -> bool:
        """Whether codes are bits, which nothing makes smaller."""
        return self._code is not None

    def spell(self, middles: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Their codes, and those that have none, with NUL between them. None of them may hold a NUL."""
        if self._code is not None:
            bits = self._bits = self._bits or dict(zip(self._symbols, self._code.codes(), strict=True))
            escape = bits[None]
            codes = huffman.packed("".join([bits.get(middle, escape) for middle in middles]))
            return codes, b"\0".join([middle for middle in middles if middle not in bits])
        known = self._bytes = self._bytes or {word: _code(rank) for rank, word in enumerate(self._symbols)}
        escaped = known[None]
        codes = b"".join([known.get(middle, escaped) for middle in middles])
        return codes, b"\0".join([middle for middle in middles if middle not in known])

    def read(self, codes: bytes, others: bytes, count: int) -> list[bytes]:
        """So many middles again. Raises `Damaged`."""
        symbols = self._ranked(codes) if self._code is None else self._code.read(codes, count)
        literals = iter(others.split(b"\0", len(symbols)))
        try:
            return [next(literals) if symbol is None else symbol for symbol in symbols]
        except StopIteration as error:
            raise Damaged("a stored answer has more escapes than words that are spelled out") from error

    def _ranked(self, codes: bytes) -> list[bytes | None]:
        symbols, found = self._symbols, []
        numbers = iter(codes)
        try:
            for high in numbers:
                rank = high if high < _ONE_BYTE else _ONE_BYTE + ((high - _ONE_BYTE) << 8 | next(numbers))
                found.append(symbols[rank])
        except (StopIteration, IndexError) as error:
            raise Damaged("a stored answer has codes that stand for nothing") from error
        return found


def _code(rank: int) -> bytes:
    """One byte for the most frequent, two for the others."""
    if rank < _ONE_BYTE:
        return bytes((rank,))
    return bytes((_ONE_BYTE + (rank - _ONE_BYTE >> 8), (rank - _ONE_BYTE) & 255))


# What is stored of one


def with_bytes(said: Said) -> bytes | None:
    """Words that are said more than once, the most frequent first; None where they are too few."""
    words = _words(said)
    return None if words is None else bytes(msgpack.packb([[], 0, b"\0".join(words)]))


def with_bits(said: Said) -> bytes | None:
    """The same words with a Huffman code, and those of one length sorted: they are squeezed better so."""
    words = _words(said)
    if words is None:
        return None
    others = sum(said.values()) - sum(said[word] for word in words)
    lengths = huffman.lengths_of([max(1, others), *(said[word] for word in words)])
    counts = Counter(lengths)
    order = sorted(zip(lengths[1:], words, strict=True))
    escape = sum(counts[bits] for bits in range(lengths[0]))  # the first of its length
    told = b"\0".join([word for _, word in order])
    return bytes(msgpack.packb([[counts[bits] for bits in range(1, max(counts) + 1)], escape, told]))


def _words(said: Said) -> list[bytes] | None:
    often = Counter(
        {word: times for word, times in said.items() if times > 1 and b"\0" not in word and len(word) <= LONGEST_WORD}
    )
    return [word for word, _ in often.most_common(MAX_WORDS)] if len(often) >= FEWEST_WORDS else None
