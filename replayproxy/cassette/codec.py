"""Values to bytes on disk and back, exactly.

A streamed answer repeats itself: each chunk differs from the one before only in the middle. So a chunk is coded as how
much of the previous chunk's beginning and end it shares, and what stands between; equal shares make a run:

    data: {"id":"x","choices":[{"delta":{"content":" the"}}]}     runs     (prefix, suffix, how many chunks)
    data: {"id":"x","choices":[{"delta":{"content":" sea"}}]}     middles  " the\\0 sea\\0…"

What stands between is mostly a token, so a vocabulary of the cassette's own tokens turns it into one or two bytes (a
third less than zstd alone makes of it), and zstd with a dictionary trained on the same traffic takes the rest. Times
are gaps in 10 us, Golomb-Rice coded around their median (R. F. Rice, JPL 79-22, 1979): 0.50 % of the SSE bytes of a
real vLLM, where zstd needs 0.64 %. Reading trusts nothing: a cassette may come from a stranger, so every size is
bounded and every shape is checked. Frames carry no checksum: a digest over the whole exchange is checked before
anything is used.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from operator import le
from typing import Any, Literal

import msgpack
import zstandard

from replayproxy.errors import Damaged
from replayproxy.model import Chunks, Ending, Headers, Key, Leg, Request, Response, Timeline

TICK = 10_000
"""Nanoseconds: the grain of stored times."""

MAX_BODY = 256 * 1024 * 1024
"""Bytes. No answer and no request on a cassette is longer."""

MAX_CHUNKS = 4 * 1024 * 1024
"""Of one answer: MAX_BODY in token events of 64 bytes."""

MAX_TICK = 2**53
"""Of one answer: 2 855 years."""

Kind = Literal["request", "answer", "vocabulary"]

DICTIONARY_SIZE: Mapping[Kind, int] = {"request": 3840, "answer": 3840}
"""Bytes. On 600 chats of a real vLLM (19 MB of SSE), larger ones cost more than they save below 3 000 chats."""

MAX_VOCABULARY = 8192
_LONGEST_WORD = 63  # bytes
_ONE_BYTE = 192  # codes below are one byte long

_COMPARED = 4096  # bytes; chunks longer than that are not token events
_KEPT = 24  # bytes of middle; a longer one is worth looking for a better run
_WORTH = 4  # bytes that a new run must save, about what it costs
_LEVEL, _LEVEL_OF_LONG, _LONG = 9, 3, 64 * 1024  # 26 us a chat at level 9
_LIMITS: dict[str, Any] = {
    "strict_map_key": True,
    "max_ext_len": 0,
    "max_map_len": 0,
    "max_array_len": 3 * MAX_CHUNKS,  # a run each: three numbers
    "max_str_len": MAX_BODY,
    "max_bin_len": MAX_BODY,
}


class Codec:
    """Packs and unpacks with the dictionaries of one cassette. One a thread.

    `fetch` looks up a dictionary by its number when a frame needs one that is not known yet.
    """

    def __init__(self, fetch: Callable[[int], tuple[Kind, bytes] | None] = lambda _: None) -> None:
        self._fetch = fetch
        self._packers: dict[tuple[Kind, int], zstandard.ZstdCompressor] = {}
        self._unpackers: dict[int, zstandard.ZstdDecompressor] = {}
        self._quick = zstandard.ZstdCompressor(level=1, write_checksum=False, write_content_size=True)
        self._newest: dict[Kind, zstandard.ZstdCompressionDict] = {}
        self._vocabularies: dict[int, list[bytes]] = {}
        self._latest: dict[Kind, int] = {}
        self._codes: dict[bytes, bytes] = {}
        self._unpackers[0] = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)

    def learn(self, number: int, kind: Kind, content: bytes) -> None:
        """Use this dictionary for reading, and the one with the highest number for writing. Raises `Damaged`."""
        newest = number >= self._latest.get(kind, 0)
        if kind == "vocabulary":
            words = self.words(content)
            self._vocabularies[number] = words
            if newest:
                self._codes = {word: _code(rank) for rank, word in enumerate(words, 1)}
        else:
            try:
                dictionary = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_FULLDICT)
                unpacker = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=8 * 1024 * 1024)
            except zstandard.ZstdError as error:
                raise Damaged(f"stored dictionary {number} cannot be read: {error}") from error
            if dictionary.dict_id() != number:
                raise Damaged(f"stored dictionary {number} says it has number {dictionary.dict_id()}")
            self._unpackers[number] = unpacker
            if newest:
                self._newest[kind] = dictionary
                self._packers = {place: packer for place, packer in self._packers.items() if place[0] != kind}
        if newest:
            self._latest[kind] = number

    def words(self, content: bytes) -> list[bytes]:
        """A vocabulary's words. Its frame needs no dictionary: one that does could need itself."""
        words = self._expand(content, self._unpackers[0], MAX_VOCABULARY * (_LONGEST_WORD + 1)).split(b"\0")
        if len(words) > MAX_VOCABULARY:
            raise Damaged("a stored vocabulary is too long")
        return words

    # Request

    def pack_request(self, request: Request) -> bytes:
        """Everything but method and path, which have a table of their own. Raises ValueError over MAX_BODY."""
        return self.squeeze("request", plain_request(request))

    def unpack_request(self, frame: bytes, method: str, path: str) -> Request:
        """The request again. Raises `Damaged`."""
        query, fields, body = _array(self.expand(frame), 3)
        if not isinstance(query, str | None) or not isinstance(body, bytes):
            raise Damaged("a stored request has the wrong shape")
        return Request(method, path if query is None else f"{path}?{query}", _headers(fields), body)

    # Answer

    def pack_answer(self, fields: Headers, chunks: Sequence[bytes]) -> bytes:
        """Field lines and body. Raises ValueError over MAX_BODY or MAX_CHUNKS."""
        return self.squeeze("answer", self.plain_answer(fields, chunks))

    def pack_segment(self, fields: Headers, chunks: Chunks) -> bytes:
        """As `pack_answer`, but quickly: a segment lives for seconds."""
        plain = msgpack.packb([fields, 0, chunks.cuts, chunks.body])
        return self._quick.compress(plain)

    def plain_answer(self, fields: Headers, chunks: Sequence[bytes]) -> bytes:
        """What is compressed of an answer: `[headers, coding, shape, content]` in msgpack.

        coding 0   cuts, body                     where a middle holds a NUL
        coding 1   runs, middles                  with NUL between them
        coding 2   runs, [vocabulary number, the middles that have no code, one code a middle]
        """
        size = sum(map(len, chunks))
        if size > MAX_BODY or len(chunks) > MAX_CHUNKS:
            raise ValueError(f"an answer of {size} bytes in {len(chunks)} chunks is too long for a cassette")
        runs, middles = _run(chunks)
        if b"\0" in b"".join(middles):
            return bytes(msgpack.packb([fields, 0, [len(chunk) for chunk in chunks], b"".join(chunks)]))
        vocabulary = self._latest.get("vocabulary")
        if vocabulary is None:
            return bytes(msgpack.packb([fields, 1, runs, b"\0".join(middles)]))
        codes = b"".join([self._codes.get(middle, b"\0") for middle in middles])
        others = b"\0".join([middle for middle in middles if middle not in self._codes])
        return bytes(msgpack.packb([fields, 2, runs, [vocabulary, others, codes]]))

    def unpack_answer(self, frame: bytes, size: int) -> tuple[Headers, list[bytes]]:
        """Field lines and chunks. `size` is what the row says the body has; more is damage."""
        fields, coding, shape, content = _array(self.expand(frame), 4)
        if not isinstance(shape, list) or not all(_is_count(number) for number in shape):
            raise Damaged("a stored answer has the wrong shape")
        if coding == 0 and isinstance(content, bytes):
            return _headers(fields), _uncut(shape, content, size)
        if coding == 1 and isinstance(content, bytes):
            return _headers(fields), _unrun(shape, content.split(b"\0", MAX_CHUNKS) if shape else [], size)
        if coding == 2 and isinstance(content, list):
            return _headers(fields), _unrun(shape, self._spoken(content), size)
        raise Damaged("a stored answer has a coding that does not exist")

    def _spoken(self, content: list[Any]) -> list[bytes]:
        """The middles behind codes."""
        if [type(part) for part in content] != [int, bytes, bytes]:
            raise Damaged("a stored answer has the wrong shape")
        number, others, codes = content
        if len(codes) > 2 * MAX_CHUNKS:
            raise Damaged("a stored answer has more chunks than any has")
        if number not in self._vocabularies and not self._fetched(number, "vocabulary"):
            raise Damaged(f"a stored answer needs vocabulary {number}, which is not on the cassette")
        words = self._vocabularies[number]
        literals = iter(others.split(b"\0", len(codes)))
        middles: list[bytes] = []
        numbers = iter(codes)
        try:
            for high in numbers:
                rank = high if high < _ONE_BYTE else _ONE_BYTE + ((high - _ONE_BYTE) << 8 | next(numbers))
                middles.append(words[rank - 1] if rank else next(literals))
        except (StopIteration, IndexError) as error:
            raise Damaged("a stored answer has codes that stand for nothing") from error
        return middles

    # zstd

    def squeeze(self, kind: Kind, data: bytes) -> bytes:
        """One zstd frame with its content size."""
        level = _LEVEL_OF_LONG if len(data) > _LONG else _LEVEL
        packer = self._packers.get((kind, level))
        if packer is None:
            packer = self._packers[kind, level] = zstandard.ZstdCompressor(
                level=level, dict_data=self._newest.get(kind), write_checksum=False, write_content_size=True
            )
        return packer.compress(data)

    def expand(self, frame: bytes) -> bytes:
        """The content of a frame. Raises `Damaged`; never allocates more than the format allows."""
        number = _parameters(frame).dict_id
        if number not in self._unpackers and not (self._fetched(number, "request", "answer")):
            raise Damaged(f"a stored frame needs dictionary {number}, which is not on the cassette")
        return self._expand(frame, self._unpackers[number], 2 * MAX_BODY)

    def _expand(self, frame: bytes, unpacker: zstandard.ZstdDecompressor, limit: int) -> bytes:
        # A frame that declares its size makes the library ignore max_output_size: look first.
        if not 0 <= _parameters(frame).content_size <= limit:
            raise Damaged("a stored frame declares an impossible size")
        try:
            return unpacker.decompress(frame, max_output_size=limit, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as error:
            raise Damaged(f"a stored frame cannot be read: {error}") from error

    def _fetched(self, number: int, *kinds: Kind) -> bool:
        """Whether there is a dictionary of one of these kinds, which is now learned."""
        found = self._fetch(number) if 0 < number < 2**31 else None
        if found is None or found[0] not in kinds:
            return False
        self.learn(number, *found)
        return True


def _parameters(frame: bytes) -> zstandard.FrameParameters:
    try:
        return zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise Damaged(f"a stored frame cannot be read: {error}") from error


# What is compressed, in plain


def plain_request(request: Request) -> bytes:
    """`[query or nil, [[name, value], …], body]` in msgpack."""
    if len(request.body) > MAX_BODY:
        raise ValueError(f"a request of {len(request.body)} bytes is too long for a cassette")
    _, mark, query = request.target.partition("?")
    return bytes(msgpack.packb([query if mark else None, request.headers, request.body]))


def train(kind: Kind, samples: Sequence[bytes], number: int) -> bytes | None:
    """A dictionary of this kind; None where the samples are too few or too small to give one."""
    try:
        trained = zstandard.train_dictionary(DICTIONARY_SIZE[kind], list(samples), dict_id=number)
    except zstandard.ZstdError:
        return None
    return trained.as_bytes()


def vocabulary(answers: Iterable[Sequence[bytes]]) -> bytes | None:
    """The middles that these answers (each a list of chunks) say more than once, most frequent first, for `learn`."""
    said = Counter(middle for chunks in answers for middle in _run(chunks)[1])
    words = [
        word
        for word, times in said.most_common(MAX_VOCABULARY)
        if times > 1 and b"\0" not in word and len(word) <= _LONGEST_WORD
    ]
    return zstandard.ZstdCompressor(level=19).compress(b"\0".join(words)) if len(words) > 64 else None


def _code(rank: int) -> bytes:
    """One byte for the most frequent, two for the others. 0 is for what has none."""
    if rank < _ONE_BYTE:
        return bytes((rank,))
    return bytes((_ONE_BYTE + (rank - _ONE_BYTE >> 8), (rank - _ONE_BYTE) & 255))


def digest(key: Key, request: Request, response: Response) -> bytes:
    """64 bits of BLAKE2b over the key, the request and everything replay can emit, with times in ticks.

    It is there to notice damage, not forgery: who can write the file can write the digest.
    """
    head, *chunks, end = ticks_of(response.timeline)
    asked = [key, request.method, request.target, request.headers, request.body]
    said = [response.status, response.headers, response.cuts, head, chunks, end, int(response.ending), response.body]
    return hashlib.blake2b(msgpack.packb([asked, said]), digest_size=8).digest()


def digest_of_leg(key: Key, leg: Leg) -> bytes:
    """The same of a leg, with the key of its exchange; whom we asked, and when, belongs to it."""
    return digest(f"{key} {leg.role} {leg.upstream} {leg.started // 1000}", leg.request, leg.response)


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


def response_of(
    status: int, fields: Headers, chunks: Sequence[bytes], ticks: Sequence[int], ending: Ending
) -> Response:
    """A response from what was unpacked. Raises `Damaged` where the parts do not fit."""
    if len(ticks) != len(chunks) + 2:
        raise Damaged("a stored answer has another number of chunks than of times")
    times = [tick * TICK for tick in ticks]
    return Response(
        status=status,
        headers=fields,
        body=b"".join(chunks),
        cuts=tuple(map(len, chunks)),
        timeline=Timeline(times[0], tuple(times[1:-1]), times[-1]),
        ending=ending,
    )


# Times

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
        _put(out, number)
    spelled = _spelled(k)
    # The 1 keeps leading zeros while this is a number.
    text = "1" + "".join([spelled[value] if value < len(spelled) else _spell(value, k) for value in folded])
    text += "0" * (-len(text) % 8)
    return bytes(out) + int(text, 2).to_bytes(len(text) // 8, "big")


def unpack_times(packed: bytes) -> list[int]:
    """The ticks again. Raises `Damaged`."""
    count, start = _varint(packed, 0)
    if count == 0:
        return []
    first, start = _varint(packed, start)
    median, start = _varint(packed, start)
    k, start = _varint(packed, start)
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


# Each chunk against the one before it


def _run(chunks: Iterable[bytes]) -> tuple[list[int], list[bytes]]:
    runs: list[int] = []
    middles: list[bytes] = []
    before = b""
    prefix = suffix = count = 0
    for chunk in chunks:
        stop = len(chunk) - suffix
        holds = prefix <= stop and chunk.startswith(before[:prefix]) and chunk.endswith(before[len(before) - suffix :])
        if not holds or stop - prefix > _KEPT or not count:
            new_prefix, new_suffix = _shared(before, chunk)
            saved = (stop - prefix) - (len(chunk) - new_prefix - new_suffix)
            if not holds or saved >= _WORTH or not count:
                if count:
                    runs += (prefix, suffix, count)
                prefix, suffix, count = new_prefix, new_suffix, 0
        count += 1
        middles.append(chunk[prefix : len(chunk) - suffix])
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


def _unrun(runs: list[int], middles: list[bytes], size: int) -> list[bytes]:
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


def _uncut(cuts: list[int], content: bytes, size: int) -> list[bytes]:
    if sum(cuts) != len(content):
        raise Damaged("a stored answer's cuts do not cover its body")
    if len(content) > size:
        raise Damaged("a stored answer is longer than its row says")
    return [content[start:stop] for start, stop in pairwise(accumulate(cuts, initial=0))]


# Small shapes


def _put(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _varint(data: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while start < len(data) and shift < 63:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise Damaged("a stored number does not end")


def _array(data: bytes, length: int) -> list[Any]:
    try:
        value = msgpack.unpackb(data, **_LIMITS)
    except (ValueError, msgpack.exceptions.UnpackException, MemoryError) as error:
        raise Damaged(f"stored msgpack cannot be read: {error}") from error
    if not isinstance(value, list) or len(value) != length:
        raise Damaged("stored msgpack has the wrong shape")
    return value


def _headers(value: object) -> Headers:
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


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number <= MAX_BODY
