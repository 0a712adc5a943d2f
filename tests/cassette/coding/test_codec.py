"""Values to bytes and back: exact at any cut, small where streams repeat themselves, and proof against strangers."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replayproxy.cassette.coding import codec, digests
from replayproxy.cassette.coding.codec import Codec, Kind
from replayproxy.cassette.coding.delta import runs_of
from replayproxy.cassette.coding.symbols import WordCounts, with_bits, with_bytes
from replayproxy.cassette.coding.times import TICK, pack_times, ticks_of, unpack_times
from replayproxy.cassette.coding.untrusted import MAX_BODY
from replayproxy.errors import Damaged
from replayproxy.model import Chunk, Chunks, End, Ending, Head, Headers, Request, Response, Timeline
from tests import fuzz

FIELDS: Headers = (("content-type", "text/event-stream"), ("x-request-id", "é\x80\xff"), ("x", ""), ("x", "twice"))


def chat(words: Iterable[str], number: int = 0) -> list[bytes]:
    """The chunks of a chat as vLLM streams them."""
    heads = {
        "id": f"chatcmpl-{number:08x}",
        "object": "chat.completion.chunk",
        "created": 1760000000 + number,
        "model": "m",
    }
    events = [
        heads | {"choices": [{"index": 0, "delta": {"content": word}, "logprobs": None, "finish_reason": None}]}
        for word in words
    ]
    return [b"data: %b\n\n" % json.dumps(event, ensure_ascii=False).encode() for event in events] + [
        b"data: [DONE]\n\n"
    ]


def story(length: int, seed: int) -> list[str]:
    """Some words, the frequent ones more often."""
    chance = random.Random(seed)
    return [f" w{int(chance.expovariate(0.05))}" for _ in range(length)]


def taught(words_of: Callable[[WordCounts], bytes | None]) -> tuple[Codec, dict[int, tuple[Kind, bytes]]]:
    """A codec with a vocabulary and dictionaries from 200 chats, and what it was taught."""
    taught_codec, shelf = Codec(), dict[int, tuple[Kind, bytes]]()
    answers = [chat(story(60, number), number) for number in range(200)]

    def teach(number: int, kind: Kind, content: bytes | None) -> None:
        assert content is not None
        shelf[number] = (kind, content)
        taught_codec.learn(number, kind, content)

    teach(1, "vocabulary", words_of_chats(words_of, answers))
    teach(2, "answer", codec.train([taught_codec.plain_answer(FIELDS, chunks)[1] for chunks in answers], 2))
    asked = [codec.plain_request(Request("POST", "/", FIELDS, b'{"messages":["%d"]}' % n * 9)) for n in range(200)]
    teach(3, "request", codec.train(asked, 3))
    return taught_codec, shelf


def words_of_chats(words_of: Callable[[WordCounts], bytes | None], answers: list[list[bytes]]) -> bytes:
    """A vocabulary for `learn`."""
    words = words_of(Counter(middle for chunks in answers for middle in runs_of(chunks)[1]))
    assert words is not None
    return codec.squeezed(words)


TAUGHT, SHELF = taught(with_bits)
BYTES, _ = taught(with_bytes)
CODECS = {"untaught": Codec(), "taught bytes": BYTES, "taught bits": TAUGHT}
EVERY_CODEC = pytest.mark.parametrize("packer", CODECS.values(), ids=CODECS.keys())


MAGIC = zstandard.FRAME_HEADER


def zstd(content: bytes) -> bytes:
    """A frame as it is stored."""
    return zstandard.compress(content).removeprefix(MAGIC)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """A body in pieces, empty ones included."""
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in pairwise(bounds)]


# Exact

# What an HTTP parser lets through: any byte but the end of a line and NUL.
FIELD = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"))
WORDS = st.lists(st.text(max_size=6) | st.sampled_from([" w1", " w2", " w3", "\n", "\x00", '"']), max_size=30)
TOKENS = st.sampled_from([b"", b"\n", b"\0", b"a", b"ab", b"data: ", b"\n\n", b"\r\n", b"\xff", b"x" * 30, b"y" * 5000])


@EVERY_CODEC
@given(st.lists(st.binary(max_size=40) | TOKENS, max_size=25))
@example([])
@example([b""])
@example([b"", b""])
@example([b"\n", b"\0", b"\n\0"])
def test_any_chunks_come_back(packer: Codec, chunks: list[bytes]) -> None:
    """Any bytes at any cuts: line feeds, NULs, empty chunks, none at all."""
    size = sum(map(len, chunks))
    assert packer.unpack_answer(packer.pack_answer(FIELDS, chunks), size) == (FIELDS, chunks, ())


@EVERY_CODEC
@given(WORDS, st.lists(st.integers(0, 10_000), max_size=10), st.booleans())
def test_streams_come_back_at_any_cut(packer: Codec, words: list[str], places: list[int], as_sent: bool) -> None:
    """An event a chunk, as a server sends it, or cut by a network that knows no events."""
    chunks = chat(words) if as_sent else cut(b"".join(chat(words)), places)
    size = sum(map(len, chunks))
    assert packer.unpack_answer(packer.pack_answer((), chunks), size) == ((), chunks, ())


@EVERY_CODEC
@given(
    st.sampled_from(["/v1/x", "/v1/x?", "/v1/x?a=1&b=?%ff", "/v1/x?\xe9"]),
    st.lists(st.tuples(FIELD, FIELD)),
    st.binary(),
)
def test_any_request_comes_back(packer: Codec, target: str, fields: list[tuple[str, str]], body: bytes) -> None:
    """No query and an empty query are two things; fields and body are any bytes."""
    request = Request("POST", target, tuple(fields), body)
    assert packer.unpack_request(packer.pack_request(request), "POST", request.path) == request


def test_a_whole_response_comes_back() -> None:
    """Status, fields, body, cuts, times in ticks and ending."""
    chunks = chat(story(50, 1))
    times = tuple(range(30 * TICK, (30 + len(chunks)) * TICK, TICK))
    response = Response(
        207, FIELDS, b"".join(chunks), tuple(map(len, chunks)), Timeline(0, times, times[-1]), Ending.TIMEOUT
    )
    answer = TAUGHT.unpack_answer(TAUGHT.pack_answer(FIELDS, chunks), len(response.body))
    ticks = unpack_times(pack_times(ticks_of(response.timeline)))
    assert codec.response_of(207, answer, ticks, Ending.TIMEOUT) == response


# Small


def test_a_taught_codec_makes_streams_small() -> None:
    """At most 2.5 % of the SSE bytes is the promise for the whole file: the parts are well below."""
    chunks = chat(story(150, 12345), 777)
    size = sum(map(len, chunks))
    packed = TAUGHT.pack_answer(FIELDS, chunks)
    assert len(packed) < 0.015 * size
    assert len(packed) < 0.7 * len(CODECS["untaught"].pack_answer(FIELDS, chunks))
    assert len(packed) < len(BYTES.pack_answer(FIELDS, chunks))  # these words come as they please


def test_what_differs_little_is_coded_as_a_run() -> None:
    """Equal ends are told once: the body of the second chunk is not stored again."""
    codes, plain = Codec().plain_answer((), chat(["The", " sea", " is"]))
    content = msgpack.unpackb(plain)
    assert codes == b""
    assert content[1] == 1
    assert content[3].endswith(b'The"}, "logprobs": null, "finish_reason": null}]}\n\n\0 sea\0 is\0[DONE]')


# Dictionaries


def test_a_reader_fetches_what_a_frame_needs() -> None:
    """Once each, by its number; nothing is loaded that was not asked for."""
    asked: list[int] = []

    def fetch(number: int) -> tuple[Kind, bytes] | None:
        asked.append(number)
        return SHELF.get(number)

    reader, chunks = Codec(fetch), chat(story(20, 3))
    frame = TAUGHT.pack_answer(FIELDS, chunks)
    for _ in range(2):
        assert reader.unpack_answer(frame, MAX_BODY) == (FIELDS, chunks, ())
    assert asked == [2, 1]


def test_what_was_fetched_for_reading_is_not_written_with() -> None:
    """A writer goes on with its newest dictionaries after it has read an old frame."""
    writer, chunks = Codec(SHELF.get), chat(story(60, 4))
    answers = [chat(story(60, number), number) for number in range(300, 500)]
    trained = codec.train([writer.plain_answer((), answer)[1] for answer in answers], 12)
    assert trained is not None
    writer.learn(11, "vocabulary", words_of_chats(with_bytes, answers))
    writer.learn(12, "answer", trained)
    before = writer.pack_answer(FIELDS, chunks)
    assert zstandard.get_frame_parameters(MAGIC + before[1 + before[0] :]).dict_id == 12
    assert writer.unpack_answer(TAUGHT.pack_answer(FIELDS, chunks), MAX_BODY) == (FIELDS, chunks, ())
    assert writer.pack_answer(FIELDS, chunks) == before


def test_frames_from_before_a_dictionary_can_still_be_read() -> None:
    """Learning something new forgets nothing."""
    learner, chunks = Codec(), chat(story(20, 5))
    frame = learner.pack_answer(FIELDS, chunks)
    for number, (kind, content) in SHELF.items():
        learner.learn(number, kind, content)
    assert learner.unpack_answer(frame, MAX_BODY) == (FIELDS, chunks, ())


def test_too_few_samples_make_no_dictionary() -> None:
    """And no error."""
    assert codec.train([b"x"], 1) is None


BAD_DICTIONARIES: list[tuple[int, Kind, bytes]] = [
    (7, "answer", b""),
    (7, "answer", b"junk" * 9),
    (7, "answer", zstd(b"")),
    (7, "answer", zstd(b"junk" * 9)),
    (7, "answer", zstd(b"\x37\xa4\x30\xec" + bytes(100))),
    (7, "answer", zstd(bytes(10_000_000))),
    (7, "answer", Codec().plain_dictionary(SHELF[2][1])),  # not in a frame
    (7, "answer", SHELF[2][1]),  # it says 2
    (0, "answer", SHELF[2][1]),
    (7, "vocabulary", b""),
    (7, "vocabulary", b"junk"),
    (7, "vocabulary", zstd(b"a\0b")),
    (7, "vocabulary", zstd(msgpack.packb([[], 0, bytes(10_000_000)]))),
]


@pytest.mark.parametrize(("number", "kind", "content"), BAD_DICTIONARIES)
def test_a_bad_dictionary_is_damage(number: int, kind: Kind, content: bytes) -> None:
    """Garbage, another's number, or one without end; whether it is taught or fetched."""
    with pytest.raises(Damaged):
        Codec().learn(number, kind, content)


def test_a_vocabulary_that_needs_itself_is_damage() -> None:
    """Its frame names its own number as the dictionary: no endless search."""
    trained = zstandard.ZstdCompressionDict(Codec().plain_dictionary(SHELF[2][1]))
    loop = zstandard.ZstdCompressor(dict_data=trained).compress(b"a\0b")[4:]
    reader = Codec({2: ("vocabulary", loop)}.get)  # type: ignore[arg-type]  # dict.get has a second parameter
    with pytest.raises(Damaged):
        reader.expand(loop)
    with pytest.raises(Damaged):
        reader.unpack_answer(answer([], 2, [], [2, b"", b""]), MAX_BODY)


def test_a_dictionary_of_another_kind_is_not_used() -> None:
    """What a frame names as its dictionary must be one, and what an answer names as its vocabulary too."""
    shelf: dict[int, tuple[Kind, bytes]] = {1: SHELF[2], 2: SHELF[1]}
    with pytest.raises(Damaged, match="needs dictionary 2"):
        Codec(shelf.get).unpack_answer(TAUGHT.pack_answer(FIELDS, chat(["a"])), MAX_BODY)
    with pytest.raises(Damaged, match="needs vocabulary 1"):
        Codec(shelf.get).unpack_answer(answer([], 2, [0, 0, 1], [1, b"", b"\x01"]), MAX_BODY)


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**64 - 1])
def test_a_number_that_no_dictionary_has_is_not_looked_up(number: int) -> None:
    """SQLite has no integers beyond 63 bits, and zstd none beyond 32."""
    asked: list[int] = []
    with pytest.raises(Damaged):
        Codec(asked.append).unpack_answer(answer([], 2, [0, 0, 1], [number, b"", b"\x01"]), MAX_BODY)
    assert asked == []


# Damage


def frame_of(*parts: Any) -> bytes:
    """A frame of any content."""
    return zstd(msgpack.packb(list(parts)))


def answer(*parts: Any, codes: bytes = b"") -> bytes:
    """An answer of any content, with codes of less than 128 bytes."""
    return bytes((len(codes),)) + codes + frame_of(*parts)


def survives(read: Callable[[], object]) -> bool:
    """Whether it was read. `Damaged` is the only exception that may come of damage."""
    try:
        read()
    except Damaged:
        return False
    return True


CHUNKS = chat([" the", " sea"])
RESPONSE = Response(
    200, FIELDS, b"".join(CHUNKS), tuple(map(len, CHUNKS)), Timeline(TICK, (2 * TICK, 9 * TICK, 12 * TICK), 13 * TICK)
)
ASKED = Request("POST", "/v1/x?a=1", FIELDS, b'{"model":"m"}')
KEY = "rp1:00"


def rows(packer: Codec) -> tuple[bytes, bytes, bytes]:
    """What a cassette holds of one exchange."""
    times = pack_times(ticks_of(RESPONSE.timeline))
    return packer.pack_request(ASKED), packer.pack_answer(FIELDS, CHUNKS), times


def emitted(packer: Codec, asked: bytes, said: bytes, times: bytes) -> tuple[Request, Response]:
    """What a reader makes of the rows, checked against the digest as the cassette checks it."""
    request = packer.unpack_request(asked, "POST", "/v1/x")
    answer = packer.unpack_answer(said, len(RESPONSE.body))
    response = codec.response_of(200, answer, unpack_times(times), Ending.COMPLETE)
    if digests.digest(KEY, request, response) != digests.digest(KEY, ASKED, RESPONSE):
        raise Damaged("the digest differs")
    return request, response


@EVERY_CODEC
def test_a_flipped_bit_gives_damage_or_the_truth(packer: Codec) -> None:
    """At every position of every column: never another exception, never other bytes."""
    intact = rows(packer)
    assert emitted(packer, *intact) == (ASKED, RESPONSE)
    noticed = flips = 0
    for column, blob in enumerate(intact):
        for at in range(8 * len(blob)):
            flipped = bytearray(blob)
            flipped[at // 8] ^= 1 << at % 8
            damaged = [*intact[:column], bytes(flipped), *intact[column + 1 :]]
            try:
                assert emitted(packer, *damaged) == (ASKED, RESPONSE)
            except Damaged:
                noticed += 1
            flips += 1
    assert noticed > 0.9 * flips


@EVERY_CODEC
def test_a_truncated_or_longer_frame_is_damage(packer: Codec) -> None:
    """At every length: half a frame, a frame with something behind it, two frames."""
    asked, said, times = rows(packer)
    for cut_off in lengthened(asked):
        with pytest.raises(Damaged):
            emitted(packer, cut_off, said, times)
    for cut_off in lengthened(said):
        with pytest.raises(Damaged):
            emitted(packer, asked, cut_off, times)


@EVERY_CODEC
def test_truncated_or_longer_times_are_damage_or_the_truth(packer: Codec) -> None:
    """What stands behind the last time is not looked at."""
    asked, said, times = rows(packer)
    read = [survives(partial(emitted, packer, asked, said, blob)) for blob in lengthened(times)]
    assert not any(read[: len(times) - 1])


def lengthened(blob: bytes) -> list[bytes]:
    """A blob at every length."""
    return [*(blob[:length] for length in range(len(blob))), blob + b"\0" * 64, blob + blob]


@given(st.binary(max_size=200))
@settings(max_examples=fuzz.cases(75))
def test_any_bytes_are_read_or_damage(junk: bytes) -> None:
    """As a blob, and as the content of a good frame."""
    framed = zstd(junk)
    for packer in CODECS.values():
        for blob in (junk, framed):
            survives(partial(packer.unpack_request, blob, "GET", "/"))
            survives(partial(packer.unpack_answer, blob, 10_000))
            survives(partial(packer.unpack_answer, b"\0" + blob, 10_000))


PACKABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=9),
    lambda inside: st.lists(inside, max_size=5) | st.dictionaries(st.text(max_size=2), inside, max_size=2),
    max_leaves=12,
)


@given(
    st.lists(PACKABLE, max_size=5) | st.tuples(st.just([]), st.integers(0, 4), st.lists(st.integers(0, 9)), PACKABLE)
)
@settings(max_examples=fuzz.cases(125))
def test_any_msgpack_is_read_or_damage(parts: list[Any]) -> None:
    """Every shape that is not ours is refused by our own word."""
    for packer in CODECS.values():
        survives(partial(packer.unpack_request, frame_of(*parts), "GET", "/"))
        survives(partial(packer.unpack_answer, answer(*parts), 100))


FORGED: dict[str, bytes] = {
    "no coding has this number": frame_of([], 4, [], b""),
    "a coding that is a text": frame_of([], "1", [], b""),
    "cuts beyond the body": frame_of([], 0, [5], b"abc"),
    "cuts short of the body": frame_of([], 0, [1], b"abc"),
    "a negative cut": frame_of([], 0, [-1, 4], b"abc"),
    "a cut that is no number": frame_of([], 0, [True, 2.0], b"abc"),
    "a run of two numbers": frame_of([], 1, [0, 0], b"abc"),
    "more chunks than middles": frame_of([], 1, [0, 0, 3], b"a\0b"),
    "fewer chunks than middles": frame_of([], 1, [0, 0, 1], b"a\0b"),
    "a prefix of nothing": frame_of([], 1, [1, 0, 1], b"a"),
    "a suffix of nothing": frame_of([], 1, [0, 1, 1], b"a"),
    "longer than the row says": frame_of([], 0, [101], b"x" * 101),
    "longer by runs": frame_of([], 1, [0, 0, 1, 50, 0, 3], b"x" * 50 + b"\0\0\0"),
    "chunks without end": frame_of([], 1, [0, 0, 2**28], b""),
    "chunks without end, and they are there": frame_of([], 1, [0, 0, 2**23 + 1], bytes(2**23)),
    "a vocabulary that is not there": frame_of([], 2, [0, 0, 1], [99, b"", b"\x01"]),
    "a vocabulary of no number": frame_of([], 2, [0, 0, 1], [[], b"", b"\x01"]),
    "a vocabulary of a huge number": frame_of([], 2, [0, 0, 1], [2**64 - 1, b"", b"\x01"]),
    "a dictionary as a vocabulary": frame_of([], 2, [0, 0, 1], [2, b"", b"\x01"]),
    "a code for nothing": frame_of([], 2, [0, 0, 1], [1, b"", b"\xff\xff"]),
    "half a code": frame_of([], 2, [0, 0, 1], [1, b"", b"\xff"]),
    "more codes than literals": frame_of([], 2, [0, 0, 3], [1, b"a\0b", b"\0\0\0"]),
    "bits of a code that has none": frame_of([], 3, [0, 0, 1], [1, b""]),
    "headers that are no list": frame_of("x", 0, [], b""),
    "a header of three": frame_of([["a", "b", "c"]], 0, [], b""),
    "a header in bytes": frame_of([[b"a", "b"]], 0, [], b""),
    "a map": zstd(msgpack.packb({"a": 1})),
    "an extension type": zstd(msgpack.packb([[], 0, [], msgpack.ExtType(5, b"abc")])),
    "a timestamp": zstd(b"\x94\x90\x00\x90\xd6\xff\x00\x00\x00\x00"),
    "not UTF-8": zstd(b"\x94\x91\x92\xa1\xff\xa1a\x00\x90\xc4\x00"),
    "a list of four thousand million": zstd(b"\xdd\xff\xff\xff\xff"),
    "bytes of four thousand million": zstd(b"\x94\x90\x00\x90\xc6\xff\xff\xff\xff"),
    "lists in lists": zstd(b"\x91" * 100_000),
    "lists in lists, each huge": zstd(b"\xdd\x00\xff\xff\xff" * 2000),
    "two contents": zstd(msgpack.packb([[], 0, [], b""]) * 2),
    "two frames": frame_of([], 0, [], b"") * 2,
    "nothing": zstd(b""),
    "a skippable frame": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    "no frame": b"RIFF",
    "a frame with its magic number": MAGIC + frame_of([], 0, [], b""),
    "a frame that does not say its size": zstandard.ZstdCompressor(write_content_size=False).compress(b"\x90" * 50)[4:],
    "a frame that lies: more": b"\xa0\x00\x00\x00\x10" + frame_of([], 0, [], b"")[2:],
    "a frame that lies: four exabytes": b"\xe0" + b"\xff" * 7 + b"\x3f" + frame_of([], 0, [], b"")[2:],
}


@pytest.mark.parametrize("frame", FORGED.values(), ids=FORGED.keys())
def test_a_forged_answer_is_damage(frame: bytes) -> None:
    """Each lie that a stranger's cassette may tell, refused in a sentence."""
    for packer in CODECS.values():
        with pytest.raises(Damaged) as refusal:
            packer.unpack_answer(b"\0" + frame, 100)
        assert str(refusal.value).startswith(("a stored", "stored"))


THREE = [0, 0, 3]
FORGED_CODES: dict[str, bytes] = {
    "no codes": answer([], 3, THREE, [1, b""]),
    "a bit less than one a chunk": answer([], 3, [0, 0, 9], [1, b""], codes=b"\0"),
    "many more than that": answer([], 3, THREE, [1, b""], codes=bytes(100)),
    "a byte more than that": answer([], 3, [0, 0, 1], [1, b""], codes=bytes(3)),
    "codes where there are none": answer([], 3, [], [1, b""], codes=b"\0"),
    "chunks without end": answer([], 3, [0, 0, 2**28] * 9, [1, b""], codes=b"\0"),
    "bytes for bits": answer([], 3, THREE, [1, b"", bytes(3)], codes=bytes(2)),
    "a vocabulary that is not there": answer([], 3, THREE, [99, b""], codes=bytes(2)),
    "bits that are none": answer([], 2, THREE, [1, b"", bytes(2)]),
    "another coding's bytes": answer([], 2, THREE, [1, b""], codes=bytes(2)),
    "more codes than there are bytes": b"\x7f" + answer([], 0, [], b""),
    "four exabytes of codes": b"\xff" * 8 + b"\x3f" + answer([], 0, [], b""),
    "codes that nobody uses": answer([], 0, [], b"", codes=b"a"),
    "codes that nobody uses either": answer([], 1, [0, 0, 1], b"a", codes=b"a"),
    "codes without end": b"\xff" * 20,
    "codes and nothing else": b"\x02ab",
    "nothing": b"",
}


@pytest.mark.parametrize("stored", FORGED_CODES.values(), ids=FORGED_CODES.keys())
def test_forged_codes_are_damage(stored: bytes) -> None:
    """They are as many as the runs say that there are chunks, and no byte more."""
    for packer in CODECS.values():
        with pytest.raises(Damaged):
            packer.unpack_answer(stored, 100)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.integers(0, 2**60), st.booleans())
def test_a_segment_is_what_was_heard(body: bytes, places: list[int], start: int, began: bool) -> None:
    """With the head where it is the first, in the cassette's grain of time."""
    data = cut(body, places)
    heard = Chunks.of([Chunk(start + 10_000_000 * place, part) for place, part in enumerate(data)])
    head = Head(start, 207, FIELDS) if began else None
    back, chunks = Codec().unpack_segment(Codec().pack_segment(head, heard))
    assert [chunk.data for chunk in chunks] == data
    assert list(chunks.times) == [at // TICK * TICK for at in heard.times]
    assert back == (Head(start // TICK * TICK, 207, FIELDS) if began else None)


def test_a_segment_of_times_without_end_is_not_written() -> None:
    """Nobody could read it: a crash would leave a cassette that cannot be opened."""
    with pytest.raises(ValueError, match="too long"):
        Codec().pack_segment(None, Chunks(b"a", (1,), (TICK * (2**53 + 1),)))


FORGED_SEGMENTS: dict[str, bytes] = {
    "nothing": b"",
    "no list": frame_of(),
    "cuts that are none": frame_of(None, 1, [1], b"a"),
    "a cut that is none": frame_of(None, [True], [1], b"a"),
    "a cut that runs backwards": frame_of(None, [2, -1], [1, 2], b"a"),
    "cuts beyond the body": frame_of(None, [2], [1], b"a"),
    "a body that is text": frame_of(None, [1], [1], "a"),
    "more times than chunks": frame_of(None, [1], [1, 2], b"a"),
    "fewer times than chunks": frame_of(None, [1], [], b"a"),
    "a time that is none": frame_of(None, [1], ["1"], b"a"),
    "a time before the request": frame_of(None, [1], [-1], b"a"),
    "a time beyond all": frame_of(None, [1], [2**53 + 1], b"a"),
    "a head that is none": frame_of(7, [1], [1], b"a"),
    "half a head": frame_of([1, 200], [1], [1], b"a"),
    "a status that is none": frame_of([1, "200", []], [1], [1], b"a"),
    "headers that are none": frame_of([1, 200, [["a"]]], [1], [1], b"a"),
    "a header with a line feed": frame_of([1, 200, [["a", "b\n"]]], [1], [1], b"a"),
}


@pytest.mark.parametrize("frame", FORGED_SEGMENTS.values(), ids=FORGED_SEGMENTS.keys())
def test_a_forged_segment_is_damage(frame: bytes) -> None:
    """It becomes an answer when the cassette is opened."""
    with pytest.raises(Damaged):
        Codec().unpack_segment(frame)


def test_a_bomb_does_not_go_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame's own word for its size is checked before anything is allocated for it."""
    monkeypatch.setattr(codec, "MAX_BODY", 1000)
    small, bomb = zstd(bytes(2000)), zstd(bytes(2001))
    assert Codec().expand(small) == bytes(2000)
    with pytest.raises(Damaged, match="impossible size"):
        Codec().expand(bomb)


def test_what_could_not_be_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of reading hold for writing: the recorder drops the exchange and says so."""
    monkeypatch.setattr(codec, "MAX_BODY", 1000)
    monkeypatch.setattr(codec, "MAX_CHUNKS", 10)
    assert Codec().pack_answer((), [bytes(100)] * 10)
    for chunks in ([bytes(1001)], [b""] * 11):
        with pytest.raises(ValueError, match="too long"):
            Codec().pack_answer((), chunks)
    assert Codec().pack_request(replace(ASKED, body=bytes(1000)))
    with pytest.raises(ValueError, match="too long"):
        Codec().pack_request(replace(ASKED, body=bytes(1001)))


def test_long_headers_can_be_read_again() -> None:
    """A query or a field of two megabytes is odd but true."""
    odd = Request("GET", "/x?" + "a" * 2_000_000, (("x", "b" * 2_000_000),))
    assert Codec().unpack_request(Codec().pack_request(odd), "GET", "/x") == odd


def test_parts_that_do_not_fit_are_damage() -> None:
    """One time for the head, one a chunk, one for the end."""
    with pytest.raises(Damaged):
        codec.response_of(200, codec.Answer((), [b"a"]), [1, 2], Ending.COMPLETE)
    with pytest.raises(Damaged):
        codec.response_of(200, codec.Answer((), []), [], Ending.COMPLETE)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0b"])
def test_a_stored_header_cannot_end_a_line(value: str) -> None:
    """A stranger's cassette must not write further lines into an answer's head."""
    packed = Codec().pack_answer((("content-type", value),), [b"a"])
    with pytest.raises(Damaged):
        Codec().unpack_answer(packed, 1)


@given(st.lists(st.binary(max_size=5), max_size=30), st.data())
def test_reads_that_ended_no_chunk_come_back(chunks: list[bytes], data: st.DataObject) -> None:
    """Any of them; most answers have none, and pay nothing for it. The digest covers them."""
    chosen = data.draw(st.sets(st.sampled_from(range(len(chunks))))) if chunks else set()
    continued = tuple(sorted(chosen))
    packed = Codec().pack_answer((), chunks, continued)
    assert Codec().unpack_answer(packed, MAX_BODY) == ((), chunks, continued)
    assert bool(continued) or packed == Codec().pack_answer((), chunks)
    times = tuple(range(0, 10_000 * len(chunks), 10_000))
    parts = Chunks(b"".join(chunks), tuple(map(len, chunks)), times, continued)
    assert Codec().unpack_segment(Codec().pack_segment(None, parts)) == (None, parts)
    whole = Response.of(Head(0, 200, ()), parts, End(10**9, Ending.COMPLETE))
    bare = replace(whole, continued=())
    same = digests.digest(KEY, ASKED, whole) == digests.digest(KEY, ASKED, bare)
    assert same is not bool(continued)


@pytest.mark.parametrize("steps", [[0], [3], [1, 0], [1, 1, 1], [-1], ["1"], 7, [True]])
def test_indexes_that_are_none_are_damage(steps: object) -> None:
    """They ascend, and lie within the chunks."""
    frame = Codec().squeeze("answer", msgpack.packb([[], 1, [0, 0, 2], b"a\0b", steps]))
    with pytest.raises(Damaged):
        Codec().unpack_answer(b"\0" + frame, 100)
