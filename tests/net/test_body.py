"""Bodies out of a connection's bytes: the same at every cut, nothing behind their end, and nothing malformed."""

from __future__ import annotations

from collections.abc import Callable

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.errors import ClientError
from replayproxy.net.body import (
    LINES_PER_CALL,
    MAX_CHUNK_LINE,
    MAX_EXTENSIONS,
    MAX_TRAILERS,
    BodyReader,
    ChunkedReader,
    LengthReader,
)
from tests.steps import grows_in_proportion

NEXT = b"GET / HTTP/1.1\r\n"


def fed(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The body in these pieces, and what is behind it."""
    body = rest = b""
    for piece in pieces:
        if reader.done:
            rest += piece
        else:
            got, rest = reader.feed(piece)
            body += got
            while reader.has_more:
                got, rest = reader.feed(b"")
                body += got
    return body, rest


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of this size."""
    return [data[start : start + size] for start in range(0, len(data), size)]


WELL_FORMED = [
    (b"0\r\n\r\n", b""),
    (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    (b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
    (b"00003\r\nabc\r\n000\r\n\r\n", b"abc"),
    (b"3;a=b\r\nabc\r\n0;c\r\n\r\n", b"abc"),
    (b'3 ; a="b c"\r\nabc\r\n0\r\n\r\n', b"abc"),
    (b"3\r\nabc\r\n0\r\nX-A: b\r\nX-B:\r\n\r\n", b"abc"),
    (b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n"),
]


@pytest.mark.parametrize(("data", "body"), WELL_FORMED)
def test_a_chunked_body_is_the_same_at_every_cut(data: bytes, body: bytes) -> None:
    """And the next request behind it is left alone."""
    for size in (1, 2, 3, 5, len(data) + len(NEXT)):
        reader = ChunkedReader()
        assert fed(reader, cut(data + NEXT, size)) == (body, NEXT)
        assert reader.done


@pytest.mark.parametrize("unit", [b"1\r\na\r\n", b"2;x=y\r\n\r\n\r\n"], ids=["bytes", "extensions"])
@pytest.mark.parametrize("count", [LINES_PER_CALL // 2 - 1, LINES_PER_CALL // 2, 3 * LINES_PER_CALL])
def test_one_call_reads_so_many_lines(unit: bytes, count: int) -> None:
    """The rest waits for the next call, whatever else comes with that; the body is the same."""
    data = unit * count + b"0\r\n\r\n" + NEXT
    reader = ChunkedReader()
    body, rest = reader.feed(data[:-3])
    calls = 1
    assert reader.has_more == (2 * count + 2 > LINES_PER_CALL)
    fed_later = data[-3:]
    while reader.has_more or fed_later:
        assert body.count(body[:1]) <= LINES_PER_CALL * (calls + 1)
        if reader.done:
            rest += fed_later
            break
        more, rest = reader.feed(fed_later)
        body, fed_later, calls = body + more, b"", calls + 1
    assert (len(body), rest, reader.done) == (count * int(unit[:1]), NEXT, True)
    assert calls >= 2 * count // LINES_PER_CALL


def test_a_mistake_behind_many_lines_is_found_when_it_is_read() -> None:
    """Not before, and not never."""
    reader = ChunkedReader()
    body, _ = reader.feed(b"1\r\na\r\n" * LINES_PER_CALL + b"x\r\n")
    assert len(body) == LINES_PER_CALL // 2
    with pytest.raises(ClientError, match="chunk whose size"):
        fed(reader, [b""])


MALFORMED = [
    b"\r\n",
    b"\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3\rabc\r\n0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"3\r\nabc0\r\n\r\n",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"-1\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3\t\r\nabc\r\n0\r\n\r\n",
    b"3_0\r\nabc\r\n0\r\n\r\n",
    b"g\r\nabc\r\n0\r\n\r\n",
    b"3,a\r\nabc\r\n0\r\n\r\n",
    b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    b"3;a\x00b\r\nabc\r\n0\r\n\r\n",
    b"3;" + b"a" * MAX_CHUNK_LINE + b"\r\nabc\r\n0\r\n\r\n",
    (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * (MAX_EXTENSIONS // 4000 + 1),
    b"ffffffffffffffff\r\nabc",
    b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    b"0\r\nX-A : b\r\n\r\n",
    b"0\r\n X-A: b\r\n\r\n",
    b"0\r\nX-A\r\n\r\n",
    b"0\r\nX-A: b\nContent-Length: 5\r\n\r\n",
    b"0\r\n\n",
    b"0\n\n",
    b"0\r\n" + b"X-A: " + b"a" * MAX_TRAILERS + b"\r\n\r\n",
    b"0\r\n" + b"X-A: b\r\n" * (MAX_TRAILERS // 4) + b"\r\n",
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_a_malformed_chunk_is_refused_at_every_cut(data: bytes, size: int) -> None:
    """Never a body that is done."""
    reader = ChunkedReader()
    with pytest.raises(ClientError):
        fed(reader, cut(data, size))
    for more in (b"0\r\n\r\n", b"\r\n0\r\n\r\n"):
        with pytest.raises(ClientError):
            reader.feed(more)
    assert not reader.done


@pytest.mark.parametrize("data", [b"3\nabc", b"3\r\nabcx", b"z", b"3\rx", b"0\r\n\n", b"0\r\nX A", b"3;\x00"])
def test_a_malformed_chunk_is_refused_before_its_line_ends(data: bytes) -> None:
    """Nobody waits for a line end that may never come."""
    with pytest.raises(ClientError):
        ChunkedReader().feed(data)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 40))
def test_what_h11_sends_in_chunks_is_read(pieces: list[bytes], size: int) -> None:
    """A property: h11's chunked coding, cut anywhere."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Transfer-Encoding", "chunked")]))
    sent = b"".join(client.send(h11.Data(data=piece)) or b"" for piece in pieces) + (
        client.send(h11.EndOfMessage()) or b""
    )
    assert fed(ChunkedReader(), cut(sent, size)) == (b"".join(pieces), b"")


NOISE = st.lists(
    st.sampled_from(
        [b"0", b"1", b"3", b"a", b";", b" ", b"\r\n", b"\r", b"\n", b"abc", b":", b"\x00", b"X-A: b", b"\r\n\r\n"]
    ),
    max_size=12,
).map(b"".join)


@given(NOISE, st.integers(1, 20))
def test_chunks_that_we_accept_h11_accepts_too(data: bytes, size: int) -> None:
    """A property over noise: whatever is a body to us is the same body to h11, which is the judge."""
    reader = ChunkedReader()
    noise = b"3\r\nabc\r\n" + data
    try:
        body, rest = fed(reader, cut(noise, size))
    except ClientError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + noise)
    theirs = b""
    while isinstance(event := server.next_event(), (h11.Request, h11.Data)):
        theirs += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert theirs == body
    assert isinstance(event, h11.EndOfMessage) == reader.done
    assert server.trailing_data[0] == rest if reader.done else True


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_body_with_a_length_ends_there(size: int) -> None:
    """At every cut; a length of nothing is done before a byte came."""
    assert fed(LengthReader(5), cut(b"hello" + NEXT, size)) == (b"hello", NEXT)
    assert LengthReader(0).done


UNENDING = {
    "chunks": lambda size: b"1;abcdefgh\r\nx\r\n" * (size // 16) + b"0\r\n\r\n",
    "one trailer": lambda size: b"0\r\nX-A: " + b"a" * size,
    "the name of a trailer": lambda size: b"0\r\n" + b"a" * size,
    "trailers": lambda size: b"0\r\n" + b"X-A: abcdefgh\r\n" * (size // 16),
    "an extension": lambda size: b"1;" + b"a" * size,
    "blanks before an extension": lambda size: b"1" + b" " * size,
}


@pytest.mark.parametrize("shape", UNENDING)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_reading_a_chunked_body_takes_work_in_proportion(shape: str, piece: int) -> None:
    """Twice the bytes cost twice the work, whatever they are and however they are cut."""

    def work(size: int) -> Callable[[], object]:
        pieces = cut(UNENDING[shape](size), piece)
        return lambda: fed(ChunkedReader(), pieces)

    assert grows_in_proportion(work, 600)


@pytest.mark.parametrize("count", [1, 3])
def test_more_may_come_while_lines_wait_for_another_call(count: int) -> None:
    """What is fed meanwhile stands behind what waits, and nothing is lost between them."""
    reader = ChunkedReader()
    body, rest = reader.feed(b"1\r\na\r\n" * LINES_PER_CALL * count)
    for more in (b"1\r", b"\nb\r\n0\r\n", b"\r\n" + NEXT):
        got, rest = reader.feed(more)
        body += got
    while reader.has_more:
        got, rest = reader.feed(b"")
        body += got
    assert (body, rest) == (b"a" * LINES_PER_CALL * count + b"b", NEXT)
