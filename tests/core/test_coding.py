"""Content codings undone: every member of every coding, at any cut, within bounds, in linear work."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core import coding, coding_layers
from replayproxy.core.coding import Decoder
from replayproxy.core.coding_layers import DecodedState
from replayproxy.model import End, Ending, Headers, Response, Timeline

TEXT = json.dumps({"messages": [{"content": f"turn {number}"} for number in range(200)]}).encode()


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header, as Microsoft's servers sent it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd_of_unknown_size(data: bytes) -> bytes:
    """A frame as a streaming encoder makes it, with a checksum."""
    packer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return packer.compress(data) + packer.flush()


def skippable(data: bytes) -> bytes:
    """A frame that readers skip (RFC 8878 §3.1.2)."""
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("deflate", gzip.compress),
    ("br", brotli.compress),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", zstd_of_unknown_size),
]


def coded(*names: str) -> Headers:
    """The field lines of a body in these codings."""
    return (("Content-Type", "application/json"), ("Content-Encoding", ", ".join(names)))


def at_cuts(names: tuple[str, ...], body: bytes, cuts: list[int]) -> tuple[bytes, DecodedState]:
    """A body fed in pieces."""
    decoder = Decoder(names)
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    read = b"".join([decoder.feed(body[start:stop]) for start, stop in pairwise(places)])
    decoder.finish()
    return read, decoder.state


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_each_coding_is_undone_whole_and_byte_by_byte(name: str, pack: Callable[[bytes], bytes]) -> None:
    """In one piece, in single bytes, and in upper case."""
    body = pack(TEXT)
    assert coding.undone(coded(name.upper()), body) == (TEXT, DecodedState.WHOLE)
    assert at_cuts((name,), body, list(range(len(body)))) == (TEXT, DecodedState.WHOLE)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")),
        ("gzip", gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 512),
        ("deflate", zlib.compress(b"one ") + zlib.compress(b"two")),
        ("deflate", gzip.compress(b"one ") + gzip.compress(b"two")),
        ("br", brotli.compress(b"one ") + brotli.compress(b"two")),
        ("zstd", zstd_of_unknown_size(b"one ") + zstandard.ZstdCompressor().compress(b"two")),
        ("zstd", skippable(b"x" * 100) + zstd_of_unknown_size(b"one ") + skippable(b"") + zstd_of_unknown_size(b"two")),
    ],
)
def test_every_member_is_undone(name: str, body: bytes) -> None:
    """A second member, an empty one, one behind frames to be skipped, padding behind the last."""
    assert coding.undone(coded(name), body) == (b"one two", DecodedState.WHOLE)
    assert at_cuts((name,), body, list(range(len(body)))) == (b"one two", DecodedState.WHOLE)


@given(
    st.lists(st.sampled_from(PACKERS), min_size=1, max_size=4),
    st.binary(max_size=300),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_stacked_codings_are_undone_at_any_cut(
    packers: list[tuple[str, Callable[[bytes], bytes]]], text: bytes, cuts: list[int]
) -> None:
    """The last name is the outermost coding; names may stand in several lines."""
    body = text
    for _, pack in packers:
        body = pack(body)
    names = tuple(name for name, _ in packers)
    assert coding.undone(tuple(("content-encoding", name) for name in names), body) == (text, DecodedState.WHOLE)
    assert at_cuts(names, body, cuts) == (text, DecodedState.WHOLE)


@pytest.mark.parametrize("value", ["identity", "", " Identity ", "identity,,identity"])
def test_no_coding_is_the_body_itself(value: str) -> None:
    """Also where the field says so."""
    fields = (("Content-Encoding", value),)
    assert not coding.is_coded(fields)
    assert coding.is_readable(fields)
    assert coding.undone(fields, b"\x1f\x8b") == (b"\x1f\x8b", DecodedState.WHOLE)
    assert Decoder.of(fields).feed(b"as it is") == b"as it is"


@pytest.mark.parametrize("names", [("snappy",), ("gzip", "compress"), ("utf-8",), ("gzip",) * 5])
def test_what_is_not_known_is_not_read(names: tuple[str, ...]) -> None:
    """An unknown name, also below a known one; more layers than anybody needs. Views show what was received."""
    assert not coding.is_readable(coded(*names))
    assert coding.undone(coded(*names), b"body") == (b"", DecodedState.UNKNOWN)
    assert coding.decoded_body(coded(*names), b"body") == b"body"


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_a_body_that_was_cut_reads_as_far_as_it_goes(name: str, pack: Callable[[bytes], bytes]) -> None:
    """And says that its end is missing, unless nothing but a checksum is."""
    body = pack(random.Random(1).randbytes(400_000))
    read, state = coding.undone(coded(name), body[: len(body) // 2])
    assert state is DecodedState.OPEN
    assert len(read) > 100_000


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_what_stands_behind_the_end_is_told_apart(name: str, pack: Callable[[bytes], bytes]) -> None:
    """It is not content, but nobody may hide a secret there."""
    decoder = Decoder((name,))
    read = decoder.feed(pack(TEXT) + b"\x01sk-junk")
    decoder.finish()
    assert read == TEXT
    assert (decoder.state, decoder.rest) in ((DecodedState.REST, b"\x01sk-junk"), (DecodedState.BROKEN, b""))
    assert decoder.state is (DecodedState.BROKEN if name == "br" else DecodedState.REST)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gzip", gzip.compress(TEXT)[:-8] + b"wrong CRC"[:8]),
        ("zstd", zstd_of_unknown_size(TEXT)[:-4] + b"sum?"),
        ("deflate", zlib.compress(TEXT)[:-4] + b"sum?"),
    ],
)
def test_a_wrong_checksum_does_not_hide_the_text(name: str, body: bytes) -> None:
    """The text comes out, also where the library gives nothing of the call that fails."""
    assert coding.undone(coded(name), body) == (TEXT, DecodedState.BROKEN)


@pytest.mark.parametrize("name", ["gzip", "zstd", "br", "deflate"])
def test_text_under_a_wrong_name_is_shown_as_received(name: str) -> None:
    """A server that names a coding and sends none."""
    body = b'{"error": "not packed at all"}'
    assert coding.undone(coded(name), body)[1] is DecodedState.BROKEN
    assert coding.decoded_body(coded(name), body) == body


def response(fields: Headers, pieces: list[bytes]) -> Response:
    """An answer of these chunks."""
    times = tuple(range(len(pieces)))
    return Response(200, fields, b"".join(pieces), tuple(map(len, pieces)), Timeline(0, times, 9), Ending.COMPLETE)


def test_chunks_under_a_wrong_name_are_shown_as_received() -> None:
    """As long as nothing could be read of them."""
    pieces = [b"data: 1\n\n", b"data: 2\n\n"]
    assert list(coding.decoded_chunks(response(coded("gzip"), pieces))) == pieces


def test_chunks_keep_their_number() -> None:
    """Each chunk as it reads when it arrives, also where a member ends within it."""
    body = gzip.compress(b"data: 1\n\n") + gzip.compress(b"data: 2\n\n")
    read = list(coding.decoded_chunks(response(coded("gzip"), [body[:25], body[25:40], body[40:]])))
    assert len(read) == 3
    assert b"".join(read) == b"data: 1\n\ndata: 2\n\n"
    assert coding.decoded(Response.of(None, (), End(0, Ending.COMPLETE))) == b""


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_output_stops_at_the_limit(name: str, pack: Callable[[bytes], bytes]) -> None:
    """A bomb; a body that is exactly as long as the limit is whole."""
    assert coding.undone(coded(name), pack(b"\0" * 5_000_000), limit=1_000_000) == (
        b"\0" * 1_000_000,
        DecodedState.TOO_LONG,
    )
    assert coding.undone(coded(name), pack(b"\0" * 1_000_000), limit=1_000_000) == (
        b"\0" * 1_000_000,
        DecodedState.WHOLE,
    )


def test_a_stacked_bomb_stops_at_the_limit_of_each_layer() -> None:
    """A bomb within a bomb, where neither layer alone is the harm."""
    body = brotli.compress(gzip.compress(b"\0" * 30_000_000))
    read, state = coding.undone(coded("gzip", "br"), body, limit=1_000_000)
    assert (len(read), state) == (1_000_000, DecodedState.TOO_LONG)


def test_a_zstd_window_beyond_eight_megabytes_is_refused() -> None:
    """RFC 9659 §3: it would cost that much memory for each stream."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = packer.compress(b"text") + packer.flush()
    assert coding.undone(coded("zstd"), body) == (b"", DecodedState.BROKEN)


class Counting:
    """A stream that counts the bytes it is fed."""

    fed = 0

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def feed(self, data: bytes, most: int) -> bytes:
        """As the stream does."""
        Counting.fed += len(data)
        return bytes(self._stream.feed(data, most))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("gzip", gzip.compress(b"")),
        ("deflate", zlib.compress(b"x")),
        ("br", brotli.compress(b"x")),
        ("zstd", zstd_of_unknown_size(b"x")),
        ("zstd", skippable(b"")),
    ],
)
def test_many_members_cost_work_in_proportion(name: str, member: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes fed to the libraries, at n and 2n members: a tenth more than twice as many at most."""
    for stream in ("_Zlib", "_Zstd", "_Brotli"):
        plain = getattr(coding_layers, stream)
        monkeypatch.setattr(coding_layers, stream, lambda *window, plain=plain: Counting(plain(*window)))
    steps = []
    for count in (1_000, 2_000):
        Counting.fed = 0
        _, state = coding.undone(coded(name), member * count)
        assert state is DecodedState.WHOLE
        steps.append(Counting.fed)
    assert steps[1] <= 2.1 * steps[0]


@pytest.mark.parametrize("how", ["flushed", "finished"])
@pytest.mark.parametrize("size", [1, 32 * 1024, 70_000, 3_000_000])
def test_br_hands_out_all_that_it_has(size: int, how: str) -> None:
    """Few bytes can be many: what is decoded must not wait in the library until more bytes come."""
    packer = brotli.Compressor()
    text = b"x" * size + b"the end"
    body = packer.process(text) + (packer.flush() if how == "flushed" else packer.finish())
    decoder = Decoder(("br",))
    assert decoder.feed(body) == text
    assert decoder.feed(b"") == b""
