"""Requests and answers to bytes on disk and back, exactly.

An answer's chunks are told by their runs (`runs`). What stands between is mostly a token, so a vocabulary of the
cassette's own tokens turns it into one or two bytes (a third less than zstd alone makes of it), and zstd with a
dictionary trained on the same traffic takes the rest. Reading trusts nothing: a cassette may come from a stranger, so
every size is bounded and every shape is checked. Frames carry no checksum: a digest over the whole exchange is checked
before anything is used.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgpack
import zstandard

from replayproxy.cassette.runs import MAX_CHUNKS, chunks_of, cut, runs_of
from replayproxy.cassette.times import TICK, ticks_of
from replayproxy.errors import Damaged
from replayproxy.model import Ending, Headers, Key, Leg, Request, Response, Timeline

MAX_BODY = 256 * 1024 * 1024
"""Bytes. No answer and no request on a cassette is longer."""

Kind = Literal["request", "answer", "vocabulary"]

MIN_DICTIONARY, MAX_DICTIONARY = 2048, 64 * 1024
_DICTIONARY_SHARE = 8
"""Bytes, and which part of what it is trained on. Stored as a frame, it takes a third of its size. Of 600, 300, 100 and
30 chats of a real vLLM this makes the smallest cassettes, within 1 %; of prose and source cut to chats too."""

MAX_VOCABULARY = 8192
_LONGEST_WORD = 63  # bytes
_ONE_BYTE = 192  # codes below are one byte long

_LEVEL, _LEVEL_OF_LONG, _LONG = 9, 3, 64 * 1024  # 26 us a chat at level 9
_SQUEEZER = zstandard.ZstdCompressor(level=19)  # what is written once
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
                plain = self.plain_dictionary(content)
                dictionary = zstandard.ZstdCompressionDict(plain, dict_type=zstandard.DICT_TYPE_FULLDICT)
                unpacker = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=8 * 1024 * 1024)
            except (zstandard.ZstdError, Damaged) as error:
                raise Damaged(f"stored dictionary {number} cannot be read: {error}") from error
            if dictionary.dict_id() != number:
                raise Damaged(f"stored dictionary {number} says it has number {dictionary.dict_id()}")
            self._unpackers[number] = unpacker
            if newest:
                self._newest[kind] = dictionary
                self._packers = {place: packer for place, packer in self._packers.items() if place[0] != kind}
        if newest:
            self._latest[kind] = number

    def plain_dictionary(self, content: bytes) -> bytes:
        """A dictionary as zstd wants it. Its frame needs no dictionary: one that does could need itself."""
        return self._expand(content, self._unpackers[0], MAX_DICTIONARY)

    def words(self, content: bytes) -> list[bytes]:
        """A vocabulary's words."""
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

    def pack_segment(self, fields: Headers, chunks: Sequence[bytes]) -> bytes:
        """As `pack_answer`, but quickly: a segment lives for seconds."""
        plain = msgpack.packb([fields, 0, [len(chunk) for chunk in chunks], b"".join(chunks)])
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
        runs, middles = runs_of(chunks)
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
            return _headers(fields), cut(content, shape, size)
        if coding == 1 and isinstance(content, bytes):
            return _headers(fields), chunks_of(shape, content.split(b"\0", MAX_CHUNKS) if shape else [], size)
        if coding == 2 and isinstance(content, list):
            return _headers(fields), chunks_of(shape, self._spoken(content), size)
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


def train(samples: Sequence[bytes], number: int) -> bytes | None:
    """A dictionary for `learn`; None where the samples are too few or too small to give one."""
    size = max(MIN_DICTIONARY, min(MAX_DICTIONARY, sum(map(len, samples)) // _DICTIONARY_SHARE))
    try:
        trained = zstandard.train_dictionary(size, list(samples), dict_id=number)
    except zstandard.ZstdError:
        return None
    return _SQUEEZER.compress(trained.as_bytes())


def vocabulary(answers: Iterable[Sequence[bytes]]) -> bytes | None:
    """The middles that these answers (each a list of chunks) say more than once, most frequent first, for `learn`."""
    said = Counter(middle for chunks in answers for middle in runs_of(chunks)[1])
    words = [
        word
        for word, times in said.most_common(MAX_VOCABULARY)
        if times > 1 and b"\0" not in word and len(word) <= _LONGEST_WORD
    ]
    return _SQUEEZER.compress(b"\0".join(words)) if len(words) > 64 else None


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


# Small shapes


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
