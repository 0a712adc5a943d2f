"""Requests and answers to bytes on disk and back, exactly.

An answer's chunks are told by their runs (`runs`). What stands between is mostly a token, so a vocabulary of the
cassette's own tokens (`vocabulary`) turns it into a short code, a third to a half of what zstd alone makes of it; zstd
with a dictionary trained on the same traffic takes the rest. Reading trusts nothing: a cassette may come from a
stranger, so every size is bounded and every shape is checked. Frames carry no checksum: a digest over the whole
exchange is checked before anything is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgpack
import zstandard

from replayproxy.cassette.budget import BYTES, PARTS, Budget, parts_of
from replayproxy.cassette.coding import untrusted, varint
from replayproxy.cassette.coding.delta import MAX_CHUNKS, chunks_of, cut, runs_of
from replayproxy.cassette.coding.symbols import LONGEST_WORD, MAX_WORDS, SymbolTable
from replayproxy.cassette.coding.times import TICK, grained, pack_times, timeline_of, unpack_times
from replayproxy.cassette.coding.untrusted import MAX_BODY, MAX_TICK
from replayproxy.cassette.gaps import GapCode
from replayproxy.errors import Damaged
from replayproxy.model import Chunks, Ending, Head, Headers, Request, Response

Kind = Literal["request", "answer", "vocabulary", "gaps"]
PlainAnswer = tuple[bytes, bytes]


class Answer(NamedTuple):
    """What is packed of an answer beside its times: `continued` as in `model.Chunks`."""

    headers: Headers
    chunks: list[bytes]
    continued: tuple[int, ...] = ()


MIN_DICTIONARY, MAX_DICTIONARY = 2048, 64 * 1024
"""Bytes. Stored as a frame, a dictionary takes a third of that."""

MAX_GAP_CODE = 32 * 1024
"""Bytes of what is stored of one, unpacked."""

_SHARE = 8
"""A dictionary is this part of what it is trained on: of 600, 300, 100 and 30 chats of a real vLLM that makes the
smallest cassettes, within 1 %; of prose and source cut to chats too."""

_LEVEL, _LEVEL_OF_LONG, _LONG = 9, 3, 64 * 1024  # 10 us a frame at level 9
_STEPS_OF_DICTIONARY = 500  # 1 ms: its tables are made
_MAGIC = b"\x28\xb5\x2f\xfd"
"""What every zstd frame begins with: left away on a cassette, which holds no others (zstd's own word: magicless)."""


class Codec:
    """Packs and unpacks with the dictionaries of one cassette. One a thread.

    `fetch` looks up a dictionary by its number when a frame needs one that is not known yet.
    """

    def __init__(
        self, fetch: Callable[[int], tuple[Kind, bytes] | None] = lambda _: None, budget: Budget | None = None
    ) -> None:
        """`budget`: what all of it may unpack to, and the time that it may take, where it comes from a stranger."""
        self.row: object = None
        """Which row is unpacked: of each one the budget counts once what it is and what it takes."""
        self._fetch = fetch
        self.budget = budget
        self._packers: dict[tuple[Kind, int], zstandard.ZstdCompressor] = {}
        self._unpackers: dict[int, zstandard.ZstdDecompressor] = {}
        self._quick = zstandard.ZstdCompressor(level=1, write_checksum=False, write_content_size=True)
        self._newest: dict[Kind, zstandard.ZstdCompressionDict] = {}
        self._vocabularies: dict[int, SymbolTable] = {}
        self._gap_codes: dict[int, GapCode] = {}
        self._latest: dict[Kind, int] = {}
        self._unpackers[0] = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)

    def learn(self, number: int, kind: Kind, content: bytes) -> None:
        """Use this dictionary for reading, and the one with the highest number for writing. Raises `Damaged`."""
        newest = number >= self._latest.get(kind, 0)
        self._work(content, _STEPS_OF_DICTIONARY, f"{kind} {number}")
        if kind == "vocabulary":
            self._vocabularies[number] = self.vocabulary(content)
        elif kind == "gaps":
            self._gap_codes[number] = GapCode(self._expand(content, self._unpackers[0], MAX_GAP_CODE))
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

    def vocabulary(self, content: bytes) -> SymbolTable:
        """A vocabulary from its frame, which needs no dictionary either."""
        return SymbolTable(self._expand(content, self._unpackers[0], (MAX_WORDS + 1) * (LONGEST_WORD + 1)))

    # Request

    def pack_request(self, request: Request) -> bytes:
        """Everything but method and path, which have a table of their own. Raises ValueError over MAX_BODY."""
        return self.squeeze("request", plain_request(request))

    def unpack_request(self, frame: bytes, method: str, path: str) -> Request:
        """The request again. Raises `Damaged`."""
        plain = self.expand(frame)
        self._work(frame, untrusted.steps_of(plain, "plain", "fields", "plain"), "request")
        query, fields, body = untrusted.array(plain, 3)
        if not isinstance(query, str | None) or not isinstance(body, bytes):
            raise Damaged("a stored request has the wrong shape")
        if len(body) > len(frame):
            self._work(frame, parts_of(body) // PARTS, "body")
        return Request(method, path if query is None else f"{path}?{query}", untrusted.headers(fields), body)

    # Answer

    def pack_answer(self, fields: Headers, chunks: Sequence[bytes], continued: Sequence[int] = ()) -> bytes:
        """Field lines and body. Raises ValueError over MAX_BODY or MAX_CHUNKS."""
        return self.squeeze_answer(self.plain_answer(fields, chunks, continued))

    def squeeze_answer(self, plain: PlainAnswer) -> bytes:
        """What is stored of an answer: how many bytes of codes, these, and a zstd frame."""
        codes, rest = plain
        return behind(codes, self.squeeze("answer", rest))

    def plain_answer(self, fields: Headers, chunks: Sequence[bytes], continued: Sequence[int] = ()) -> PlainAnswer:
        """Codes in bits, which nothing makes smaller, and what is compressed: `[headers, coding, shape, content]` in
        msgpack; a fifth element, where there are any, has the distances between the reads that ended no HTTP chunk.

        coding 0   cuts, body                     where a middle holds a NUL
        coding 1   runs, middles                  with NUL between them
        coding 2   runs, [vocabulary number, the middles that have no code, a code of bytes for each middle]
        coding 3   runs, [vocabulary number, the middles that have no code] and, where words are joined, how many joins
        """
        size = sum(map(len, chunks))
        if size > MAX_BODY or len(chunks) > MAX_CHUNKS:
            raise ValueError(f"an answer of {size} bytes in {len(chunks)} chunks is too long for a cassette")
        runs, middles = runs_of(chunks)
        if b"\0" in b"".join(middles):
            return b"", _plain(continued, fields, 0, [len(chunk) for chunk in chunks], b"".join(chunks))
        number = self._latest.get("vocabulary")
        if number is None:
            return b"", _plain(continued, fields, 1, runs, b"\0".join(middles))
        vocabulary = self._vocabularies[number]
        codes, others, joins = vocabulary.spell(middles)
        if vocabulary.has_bits:
            return codes, _plain(continued, fields, 3, runs, [number, others, joins] if joins else [number, others])
        return b"", _plain(continued, fields, 2, runs, [number, others, codes])

    def unpack_answer(self, stored: bytes, size: int | None = None) -> Answer:
        """Field lines, chunks, and which of these did not end an HTTP chunk. `size` is what the row says the body has,
        where it says it; more is damage."""
        codes, frame = split(stored)
        if self.budget is not None and size is not None:
            self.budget.spend(self.row, stored, size)
        plain = self.expand(frame)
        self._work(stored, untrusted.steps_of(plain, "fields", "plain", "numbers", "content", "numbers"), "answer")
        fields, coding, shape, content, *steps = untrusted.array(plain, 4, 5)
        if not untrusted.are_counts(shape):
            raise Damaged("a stored answer has the wrong shape")
        if codes and coding != 3:
            raise Damaged("a stored answer has codes that it does not use")
        self._work(stored, len(shape) if coding == 0 else sum(shape[2::3]), "chunks")
        most = MAX_BODY if self.budget is None else self.budget.at_most(stored)
        chunks = self._chunks(coding, shape, content, codes, min(most, MAX_BODY) if size is None else size)
        if self.budget is not None and size is None:
            self.budget.spend(self.row, stored, sum(map(len, chunks)))
        # Events beyond those that have a chunk each: two lines or more make one.
        self._work(stored, sum([chunk.count(b"\n") for chunk in chunks]) // 2 - len(chunks), "events")
        return Answer(untrusted.headers(fields), chunks, untrusted.indexes(steps[0], len(chunks)) if steps else ())

    def _chunks(self, coding: object, shape: list[int], content: object, codes: bytes, size: int) -> list[bytes]:
        if coding == 0 and isinstance(content, bytes):
            return cut(content, shape, size)
        if coding == 1 and isinstance(content, bytes):
            return chunks_of(shape, content.split(b"\0", MAX_CHUNKS) if shape else [], size)
        match coding, content:
            case 2, [int(number), bytes(others), bytes(ranks)]:
                return chunks_of(shape, self._spoken(number, others, ranks, shape, in_bits=False), size)
            case 3, [int(number), bytes(others)]:
                return chunks_of(shape, self._spoken(number, others, codes, shape, in_bits=True), size)
            case 3, [int(number), bytes(others), int(joins)]:
                return chunks_of(shape, self._spoken(number, others, codes, shape, joins, in_bits=True), size)
        raise Damaged("a stored answer has a coding that does not exist")

    def _spoken(
        self, number: int, others: bytes, codes: bytes, runs: list[int], joins: int = 0, *, in_bits: bool
    ) -> list[bytes]:
        """The middles behind codes."""
        count = sum(runs[2::3])
        if not 0 <= joins <= MAX_CHUNKS or count > MAX_CHUNKS or len(codes) > 2 * MAX_CHUNKS:
            raise Damaged("a stored answer has more chunks than any has")
        if number not in self._vocabularies and not self._fetched(number, "vocabulary"):
            raise Damaged(f"a stored answer needs vocabulary {number}, which is not on the cassette")
        vocabulary = self._vocabularies[number]
        if vocabulary.has_bits != in_bits:
            raise Damaged("a stored answer has codes of another kind than its vocabulary")
        return vocabulary.read(codes, others, count, joins)

    # Times

    def pack_times(self, ticks: Sequence[int]) -> bytes:
        """In the newest code of gaps, where there is one. Raises ValueError."""
        number = self._latest.get("gaps")
        return pack_times(ticks, None if number is None else (number, self._gap_codes[number]))

    def unpack_times(self, stored: bytes) -> list[int]:
        """The ticks again. Raises `Damaged`."""
        return unpack_times(stored, self._gap_code)

    def _gap_code(self, number: int) -> GapCode:
        if number not in self._gap_codes and not self._fetched(number, "gaps"):
            raise Damaged(f"stored times need the code of gaps {number}, which is not on the cassette")
        return self._gap_codes[number]

    # Segment

    def pack_segment(self, head: Head | None, chunks: Chunks) -> bytes:
        """What was heard since the segment before, and quickly: it lives for seconds. The head stands in the first.

        Raises ValueError for times beyond MAX_TICK.
        """
        ticks = grained(chunks.times)
        if ticks and ticks[-1] > MAX_TICK:
            raise ValueError(f"an answer of {ticks[-1]} ticks is too long for a cassette")
        began = None if head is None else [*grained([head.at]), head.status, head.headers]
        content = [began, chunks.cuts, ticks, chunks.body, steps_of(chunks.continued)]
        return _bare(self._quick.compress(msgpack.packb(content)))

    def unpack_segment(self, frame: bytes) -> tuple[Head | None, Chunks]:
        """The head, if it is there, and the chunks again. Raises `Damaged`."""
        plain = self.expand(frame)
        self._work(frame, untrusted.steps_of(plain, "head", "numbers", "numbers", "plain", "numbers"), "segment")
        began, cuts, ticks, body, *steps = untrusted.array(plain, 4, 5)
        if not untrusted.are_counts(cuts) or not isinstance(body, bytes) or sum(cuts) != len(body):
            raise Damaged("a stored segment has cuts that do not cover what it holds")
        if not untrusted.are_times(ticks) or len(ticks) != len(cuts):
            raise Damaged("a stored segment has other times than chunks")
        self._work(frame, max(len(cuts), body.count(b"\n") // 2), "chunks")
        continued = untrusted.indexes(steps[0], len(cuts)) if steps else ()
        chunks = Chunks(body, tuple(cuts), tuple(tick * TICK for tick in ticks), continued)
        if began is None:
            return None, chunks
        if not isinstance(began, list) or len(began) != 3 or not untrusted.are_times(began[:2]):
            raise Damaged("a stored segment has a head of the wrong shape")
        return Head(began[0] * TICK, began[1], untrusted.headers(began[2])), chunks

    # zstd

    def squeeze(self, kind: Kind, data: bytes) -> bytes:
        """One zstd frame with its content size, without its magic number."""
        level = _LEVEL_OF_LONG if len(data) > _LONG else _LEVEL
        packer = self._packers.get((kind, level))
        if packer is None:
            packer = self._packers[kind, level] = zstandard.ZstdCompressor(
                level=level, dict_data=self._newest.get(kind), write_checksum=False, write_content_size=True
            )
        return _bare(packer.compress(data))

    def squeeze_quickly(self, data: bytes) -> bytes:
        """The same at level 1 and without a dictionary, for what is unpacked again at once."""
        return _bare(self._quick.compress(data))

    def expand_bundled(self, frame: bytes, limit: int) -> bytes:
        """The content of a frame that holds parts of many exchanges, at most so many bytes. Raises `Damaged`."""
        plain = self._expand(frame, self._unpackers[0], limit)
        self._work(frame, len(plain) // BYTES, "bundle")
        return plain

    def expand(self, frame: bytes) -> bytes:
        """The content of a frame. Raises `Damaged`; never allocates more than the format allows."""
        number = _parameters(frame).dict_id
        if number not in self._unpackers and not self._fetched(number, "request", "answer"):
            raise Damaged(f"a stored frame needs dictionary {number}, which is not on the cassette")
        return self._expand(frame, self._unpackers[number], 2 * MAX_BODY)

    def _expand(self, frame: bytes, unpacker: zstandard.ZstdDecompressor, limit: int) -> bytes:
        # A frame that declares its size makes the library ignore max_output_size: look first.
        size = _parameters(frame).content_size
        if not 0 <= size <= limit:
            raise Damaged("a stored frame declares an impossible size")
        if self.budget is not None:
            self.budget.spend(self.row, frame, size)
        try:
            return unpacker.decompress(_MAGIC + frame, max_output_size=limit, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as error:
            raise Damaged(f"a stored frame cannot be read: {error}") from error

    def _work(self, packed: bytes, steps: int, of: str) -> None:
        if self.budget is not None:
            self.budget.work(self.row, packed, steps, of)

    def _fetched(self, number: int, *kinds: Kind) -> bool:
        """Whether there is a dictionary of one of these kinds, which is now learned."""
        found = self._fetch(number) if 0 < number < 2**31 else None
        if found is None or found[0] not in kinds:
            return False
        self.learn(number, *found)
        return True


def behind(codes: bytes, frame: bytes) -> bytes:
    """What is stored of an answer: how many bytes of codes, these, and a zstd frame."""
    out = bytearray()
    varint.put(out, len(codes))
    return bytes(out) + codes + frame


def split(stored: bytes) -> tuple[bytes, bytes]:
    """The codes and the frame of an answer. Raises `Damaged`."""
    length, start = varint.read(stored, 0)
    if length > min(len(stored) - start, 2 * MAX_CHUNKS):
        raise Damaged("a stored answer ends within its codes")
    return stored[start : start + length], stored[start + length :]


def _bare(frame: bytes) -> bytes:
    return frame[len(_MAGIC) :]


def _parameters(frame: bytes) -> zstandard.FrameParameters:
    try:
        return zstandard.get_frame_parameters(_MAGIC + frame)
    except zstandard.ZstdError as error:
        raise Damaged(f"a stored frame cannot be read: {error}") from error


# What is compressed, in plain


def _plain(continued: Sequence[int], *parts: object) -> bytes:
    return bytes(msgpack.packb([*parts, steps_of(continued)] if continued else parts))


def steps_of(indexes: Sequence[int]) -> list[int]:
    """Ascending indexes by their distances: those of a server whose every chunk takes two reads are all 2."""
    return [index - before for before, index in pairwise((-1, *indexes))]


def plain_request(request: Request) -> bytes:
    """`[query or nil, [[name, value], …], body]` in msgpack."""
    if len(request.body) > MAX_BODY:
        raise ValueError(f"a request of {len(request.body)} bytes is too long for a cassette")
    _, mark, query = request.target.partition("?")
    return bytes(msgpack.packb([query if mark else None, request.headers, request.body]))


def train(samples: Sequence[bytes], number: int) -> bytes | None:
    """A dictionary for `learn`; None where the samples are too few or too small to give one."""
    size = max(MIN_DICTIONARY, min(MAX_DICTIONARY, sum(map(len, samples)) // _SHARE))
    try:
        trained = zstandard.train_dictionary(size, list(samples), dict_id=number)
    except zstandard.ZstdError:
        return None
    return squeezed(trained.as_bytes())


def squeezed(plain: bytes) -> bytes:
    """A frame for `learn`, of what is written once."""
    return _bare(zstandard.ZstdCompressor(level=19).compress(plain))


def response_of(status: int, answer: Answer, ticks: Sequence[int], ending: Ending) -> Response:
    """A response from what was unpacked. Raises `Damaged` where the parts do not fit."""
    if len(ticks) != len(answer.chunks) + 2:
        raise Damaged("a stored answer has another number of chunks than of times")
    return Response(
        status=status,
        headers=answer.headers,
        body=b"".join(answer.chunks),
        cuts=tuple(map(len, answer.chunks)),
        timeline=timeline_of(ticks),
        ending=ending,
        continued=answer.continued,
    )
