"""The words of a cassette: what its answers say again and again, and a code for each.

Codes are of one of two kinds. Bytes, one for the frequent words and two for the others, leave zstd its matches: best
where answers repeat phrases, as prose and source do (by 3 to 29 %). Bits of a Huffman code spend on each word what it
is worth: best where words follow one another as they please (by 10 %), and zstd is kept away from them. Who trains a
vocabulary tries both.

    [[], 0, "the\\0 sea\\0…"]                      in msgpack: bytes
    [lengths, escape, join, "the\\0 sea\\0…"]       lengths of a Huffman code; where the two other symbols stand

A server that is busy sends several tokens in one event, and each such event is another. So where codes are bits, the
symbol `join` stands between words that make one middle. What has no words is escaped and spelled out. Format 1 knew of
no joins; its codes are read. Reading trusts nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgpack

from replayproxy.cassette.coding import huffman, untrusted
from replayproxy.errors import Damaged

MAX_WORDS = 8192
LONGEST_WORD = 63  # bytes
FEWEST_WORDS = 65  # fewer do not pay

_ONE_BYTE = 192  # codes below are one byte long

_REMEMBERED = 4096
"""Middles of several words whose codes are cached: the same ones occur again."""

_JOIN = b"\0"
"""Stands for the symbol between two words, where words have names: none holds a NUL."""

WordCounts = Mapping[bytes, int]
"""What stands between the shared ends of chunks, and how often."""


class Encoded(NamedTuple):
    """Middles in codes: those that are spelled out, with NUL between them; how many symbols join two words."""

    codes: bytes
    others: bytes
    joins: int = 0


class SymbolTable:
    """One that was stored. Raises `Damaged`."""

    def __init__(self, content: bytes) -> None:
        untrusted.steps_of(content, "numbers", "plain", "plain", "plain")  # its own: how many there may be is bounded
        counts, *places, words = untrusted.array(content, 3, 4)
        if not isinstance(counts, list) or not all(map(untrusted.is_count, places)) or not isinstance(words, bytes):
            raise Damaged("a stored vocabulary has the wrong shape")
        self.words = words.split(b"\0", MAX_WORDS)
        most = len(self.words)
        if most > MAX_WORDS or any(place > most + 1 for place in places) or max(map(len, self.words)) > LONGEST_WORD:
            raise Damaged("a stored vocabulary is too long")
        if places[0] > most or (len(places) == 2 and not counts):
            raise Damaged("a stored vocabulary has symbols where no words are")
        self._symbols: list[bytes | None] = [*self.words]
        for place, symbol in zip(places, (None, _JOIN), strict=False):
            self._symbols.insert(place, symbol)
        self._code = huffman.Code(self._symbols, counts) if counts else None
        self._joins = len(places) == 2
        self._bits: dict[bytes | None, str] = {}
        self._bytes: dict[bytes | None, bytes] = {}
        self._costs: dict[bytes, float] = {}
        self._joined: dict[bytes, tuple[str, int]] = {}

    @property
    def has_bits(self) -> bool:
        """Whether codes are bits, which nothing makes smaller."""
        return self._code is not None

    def spell(self, middles: Sequence[bytes]) -> Encoded:
        """Their codes. None of them may hold a NUL."""
        if self._code is not None:
            return self._in_bits(middles, self._code)
        codes_by_word = self._bytes = self._bytes or {word: _code(rank) for rank, word in enumerate(self._symbols)}
        escaped = codes_by_word[None]
        codes = b"".join([codes_by_word.get(middle, escaped) for middle in middles])
        return Encoded(codes, b"\0".join([middle for middle in middles if middle not in codes_by_word]))

    def _in_bits(self, middles: Sequence[bytes], code: huffman.Code[bytes | None]) -> Encoded:
        bits = self._bits = self._bits or dict(zip(self._symbols, code.codes(), strict=True))
        codes, others, joins = [], [], 0
        for middle in middles:
            one = bits.get(middle)
            if one is None:
                one, more = self._in_words(middle) if self._joins else ("", 0)
                joins += more
                if not one:
                    one = bits[None]
                    others.append(middle)
            codes.append(one)
        return Encoded(huffman.packed("".join(codes)), b"\0".join(others), joins)

    def _in_words(self, middle: bytes) -> tuple[str, int]:
        """The bits of several words that make it, and how many symbols join them; no bits: it is to be spelled out."""
        found = self._joined.get(middle)
        if found is None:
            bits = self._bits
            costs = self._costs = self._costs or {word: len(one) for word, one in bits.items() if word is not None}
            words = _cut(middle, costs, len(bits[None]))
            found = bits[_JOIN].join([bits[word] for word in words]), max(0, len(words) - 1)
            if len(self._joined) < _REMEMBERED:
                self._joined[middle] = found
        return found

    def read(self, codes: bytes, others: bytes, count: int, joins: int = 0) -> list[bytes]:
        """So many middles again. Raises `Damaged`."""
        symbols = self._ranked(codes) if self._code is None else self._code.read(codes, count + 2 * joins)
        literals = iter(others.split(b"\0", len(symbols)))
        try:
            read = [next(literals) if symbol is None else symbol for symbol in symbols]
        except StopIteration as error:
            raise Damaged("a stored answer has more escapes than words that are spelled out") from error
        if joins:
            return _joined(read, count)
        if self._joins and _JOIN in read:
            raise Damaged("a stored answer joins words and does not say so")
        return read

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


def _joined(symbols: list[bytes], count: int) -> list[bytes]:
    """So many middles of these words and what joins them. Raises `Damaged`."""
    middles: list[bytes] = []
    joining = False
    for symbol in symbols:
        if symbol == _JOIN:
            if joining or not middles:
                raise Damaged("a stored answer joins nothing")
            joining = True
        elif joining:
            middles[-1] += symbol
            joining = False
            # No recorder makes longer ones of words, and to append to a long one again and again is quadratic.
            if len(middles[-1]) > LONGEST_WORD:
                raise Damaged("a stored answer joins more words than any middle has")
        else:
            middles.append(symbol)
    if len(middles) != count or joining:
        raise Damaged("a stored answer joins another number of words than it says")
    return middles


def _cut(middle: bytes, costs: Mapping[bytes, float], escape: float, *, whole: bool = False) -> list[bytes]:
    """The words that make it in the fewest bits; none where it had better be spelled out. `whole`: it is no word."""
    length = len(middle)
    if not 1 < length <= LONGEST_WORD:
        return []
    joining = costs[_JOIN]
    best = [0.0] + [math.inf] * length
    starts = [0] * (length + 1)
    for start in range(length):
        sofar = best[start] + (joining if start else 0.0)
        if sofar == math.inf:
            continue
        for stop in range(start + 1, min(start + _LONGEST_PART, length) + 1):
            cost = costs.get(middle[start:stop])
            if cost is not None and sofar + cost < best[stop] and not (whole and stop - start == length):
                best[stop], starts[stop] = sofar + cost, start
    if best[length] > escape + 8 + _LITERAL * length:
        return []
    words, stop = [], length
    while stop:
        words.append(middle[starts[stop] : stop])
        stop = starts[stop]
    return words[::-1]


_LONGEST_PART = 24
"""Bytes of a word that is looked for within a middle: to look for longer ones takes time and finds little."""

_LITERAL = 5.0
"""Bits of a byte that is spelled out, about what zstd makes of it."""


# What is stored of one


def with_bytes(word_counts: WordCounts) -> bytes | None:
    """Return words that occur more than once, the most frequent first; None if they are too few."""
    words = _words(word_counts)
    return None if words is None else bytes(msgpack.packb([[], 0, b"\0".join(words)]))


def with_bits(word_counts: WordCounts) -> bytes | None:
    """Return words that occur more than once and pay for themselves, with a Huffman code.

    Those of one length are sorted: they are squeezed better so.
    """
    words = _words(word_counts)
    if words is None:
        return None
    often = _counted(word_counts, words)
    lengths = dict(zip(often, huffman.lengths_of([max(1, times) for times in often.values()]), strict=True))
    counts = Counter(lengths.values())
    # Of one length: first what escapes, then what joins, then the words.
    order = sorted(often, key=lambda word: (lengths[word], word not in _SYMBOLS, word == _JOIN, word))
    escape, join = order.index(_ESCAPE), order.index(_JOIN)
    stored_words = b"\0".join([word for word in order if word not in _SYMBOLS])
    # Where each stands once those before it in this list are there.
    places = (escape - (join < escape), join)
    return bytes(msgpack.packb([[counts[bits] for bits in range(1, max(counts) + 1)], *places, stored_words]))


_ESCAPE = b"\0\0"
_SYMBOLS = (_ESCAPE, _JOIN)


def _counted(word_counts: WordCounts, words: Sequence[bytes]) -> dict[bytes, int]:
    """Return how often each word and each other symbol occurs, if texts without a word are made of several."""
    often = {word: word_counts[word] for word in words}
    often |= dict(_parts(word_counts, often).most_common(MAX_WORDS - len(words)))
    total = sum(word_counts.values())
    costs = {word: math.log2(total / times) for word, times in often.items()} | {_JOIN: _JOINS_FIRST}
    counted = _recounted(word_counts, often, costs)
    # Again with what that costs: a word that seldom saves anything is not worth its place.
    total = sum(counted.values())
    costs = {symbol: math.log2(total / max(1, times)) for symbol, times in counted.items()}
    escape = costs.pop(_ESCAPE)
    for word in sorted(often, key=lambda word: (counted[word], -len(word), word)):
        if counted[word] > _RARE:
            break
        pieces = _cut(word, costs, escape, whole=True)
        one = sum(costs[piece] for piece in pieces) + costs[_JOIN] * (len(pieces) - 1)
        one = one if pieces else escape + 8 + _LITERAL * len(word)
        if (one - costs[word]) * counted[word] < 8 + _STORED * len(word):
            del costs[word]
    return _recounted(word_counts, [word for word in often if word in costs], costs)


def _recounted(word_counts: WordCounts, words: Iterable[bytes], costs: Mapping[bytes, float]) -> Counter[bytes]:
    codes_by_word = set(words)
    counted = Counter(dict.fromkeys(codes_by_word, 0) | {_JOIN: 0, _ESCAPE: 0})
    for middle, times in word_counts.items():
        if middle in codes_by_word:
            counted[middle] += times
        elif pieces := _cut(middle, costs, _JOINS_FIRST):
            for piece in pieces:
                counted[piece] += times
            counted[_JOIN] += times * (len(pieces) - 1)
        else:
            counted[_ESCAPE] += times
    return counted


def _parts(word_counts: WordCounts, words: Mapping[bytes, int]) -> Counter[bytes]:
    """What stands beside a word in what has no word, more than once: halves of characters, for example."""
    found: Counter[bytes] = Counter()
    for middle, times in word_counts.items():
        if middle in words or len(middle) > LONGEST_WORD or b"\0" in middle:
            continue
        for at in range(1, len(middle)):
            first, second = middle[:at], middle[at:]
            if first in words and second not in words:
                found[second] += times
            elif second in words and first not in words:
                found[first] += times
    return Counter(
        {part: times for part, times in found.items() if times >= _PARTS_FROM and len(part) <= _LONGEST_PART}
    )


_PARTS_FROM = 3

_JOINS_FIRST = 4.0
"""Bits that a join and an escape are taken to need, before they have been counted."""

_RARE = 12
"""A word that occurs more often than this is kept."""

_STORED = 4.0
"""Bits that a letter of a word takes in a stored vocabulary."""


def _words(word_counts: WordCounts) -> list[bytes] | None:
    often = Counter(
        {
            word: times
            for word, times in word_counts.items()
            if times > 1 and b"\0" not in word and len(word) <= LONGEST_WORD
        }
    )
    return [word for word, _ in often.most_common(MAX_WORDS)] if len(often) >= FEWEST_WORDS else None
