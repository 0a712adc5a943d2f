"""The words keep their promises."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.model import (
    Chunk,
    Chunks,
    End,
    Ending,
    Exchange,
    Head,
    RecordingRef,
    Request,
    Response,
    Timeline,
    is_playable,
)

FIELDS = (("content-type", "text/event-stream"),)


def heard(*pieces: bytes, ending: Ending = Ending.COMPLETE) -> Response:
    """An answer whose n-th chunk came at n ms."""
    chunks = [Chunk(at * 1_000_000, piece) for at, piece in enumerate(pieces, 1)]
    return Response.of(Head(500, 200, FIELDS), chunks, End(len(pieces) * 1_000_000 + 7, ending))


def test_endings_have_numbers_for_ever() -> None:
    """The numbers stand on cassettes: a new ending gets a new number, no ending gets another."""
    assert {ending.name: ending.value for ending in Ending} == {
        "COMPLETE": 0,
        "UPSTREAM_CUT": 1,
        "CLIENT_LEFT": 2,
        "TIMEOUT": 3,
        "PROXY_STOPPED": 4,
        "PROXY_CRASHED": 5,
    }


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/models", "/v1/models", ""),
        ("/v1/models?", "/v1/models", ""),
        ("/v1/models?a=1&b=?", "/v1/models", "a=1&b=?"),
        ("?a", "", "a"),
    ],
)
def test_a_target_is_a_path_and_a_raw_query(target: str, path: str, query: str) -> None:
    """Nothing is decoded; the first question mark divides."""
    request = Request("GET", target)
    assert (request.path, request.query) == (path, query)


def test_words_are_frozen() -> None:
    """A change is a new value."""
    with pytest.raises(FrozenInstanceError):
        Request("GET", "/").method = "POST"  # type: ignore[misc]  # the point of the test
    with pytest.raises(FrozenInstanceError):
        heard().status = 500  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError):
        RecordingRef("rp1:00", 0).occurrence = 1  # type: ignore[misc]  # the point of the test
    assert replace(Request("GET", "/a"), target="/b") == Request("GET", "/b")


@given(st.lists(st.binary(max_size=20)))
def test_a_response_is_heard_again_as_it_was(pieces: list[bytes]) -> None:
    """`Response.of` and `chunks()` are inverse: same bytes, same cuts, same times, empty chunks included."""
    response = heard(*pieces)
    assert response.body == b"".join(pieces)
    assert list(response.chunks()) == [Chunk(at * 1_000_000, piece) for at, piece in enumerate(pieces, 1)]
    assert response.timeline.head == 500
    assert response.timeline.end == len(pieces) * 1_000_000 + 7


def test_an_answer_without_a_head_has_status_zero() -> None:
    """What ended before its head has no status, no fields and one time."""
    response = Response.of(None, [], End(9, Ending.UPSTREAM_CUT))
    assert response == Response(0, (), b"", (), Timeline(9, (), 9), Ending.UPSTREAM_CUT)


@pytest.mark.parametrize(
    ("body", "cuts", "times"),
    [(b"ab", (1,), (1,)), (b"ab", (2, 1), (1, 2)), (b"ab", (1, 1), (1,)), (b"", (), (1,)), (b"a", (), ())],
)
def test_cuts_that_do_not_cover_the_body_are_refused(
    body: bytes, cuts: tuple[int, ...], times: tuple[int, ...]
) -> None:
    """The cuts sum up to the body, one time a cut."""
    with pytest.raises(ValueError, match="do not cover"):
        Response(200, (), body, cuts, Timeline(0, times, 9))


def test_framed_is_chunked_coding_without_its_end() -> None:
    """Size in hex, CRLF, bytes, CRLF (RFC 9112 §7.1). An empty chunk would end the body: it is left out."""
    assert heard(b"ab", b"", b"x" * 16).framed == b"2\r\nab\r\n10\r\n" + b"x" * 16 + b"\r\n"
    assert heard().framed == b""


def test_the_first_chunk_and_the_gaps() -> None:
    """`first` is the first chunk, or the end where there was none; a gap stands between two chunks."""
    assert Timeline(1, (5, 8, 8), 9).first == 5
    assert Timeline(1, (), 9).first == 9
    assert list(Timeline(1, (5, 8, 8), 9).gaps()) == [3, 0]
    assert list(Timeline(1, (5,), 9).gaps()) == []


def test_looking_at_a_response_does_not_change_it() -> None:
    """`framed` is kept with the value, and equality does not see it."""
    one, other = heard(b"a"), heard(b"a")
    assert one.framed is one.framed
    assert one == other
    assert Exchange(Request("GET", "/"), one, 0) == Exchange(Request("GET", "/"), other, 0)


def test_reads_that_continue_an_http_chunk_keep_their_places() -> None:
    """Which reads ended before their HTTP chunk did is known of single chunks, of columns and of joined parts."""
    first = Chunks.of([Chunk(1, b"a"), Chunk(2, b"bc", continued=True), Chunk(3, b"d")])
    second = Chunks.of([Chunk(4, b"e", continued=True), Chunk(5, b"f")])
    joined = Chunks.joined([first, second])
    assert (first.continued, second.continued, joined.continued) == ((1,), (0,), [1, 3])
    assert [chunk.continued for chunk in joined] == [False, True, False, True, False]
    response = Response.of(Head(0, 200, ()), joined, End(6, Ending.COMPLETE))
    assert (response.continued, response.chunks()) == (
        (1, 3),
        Chunks(b"abcdef", (1, 2, 1, 1, 1), (1, 2, 3, 4, 5), (1, 3)),
    )


def test_what_is_played_without_being_allowed_to() -> None:
    """A whole answer, and one whose client left after its head; nothing that broke, nothing without a head."""
    played = {(status, ending) for status in (0, 200, 404) for ending in Ending if is_playable(status, ending)}
    assert played == {(0, Ending.COMPLETE), (200, Ending.COMPLETE), (404, Ending.COMPLETE)} | {
        (200, Ending.CLIENT_LEFT),
        (404, Ending.CLIENT_LEFT),
    }


HTTP_CHUNKS = [
    ((), (3, 4), (3, 4)),
    ((0,), (3, 4), (7,)),
    ((0, 1), (3, 4, 5, 6), (12, 6)),
    ((1,), (3, 4), (3, 4)),  # it broke within a chunk
    ((0, 2), (1, 2, 3), (3, 3)),
]


@pytest.mark.parametrize(("continued", "cuts", "sizes"), HTTP_CHUNKS)
def test_reads_that_ended_no_chunk_are_one_with_the_next(
    continued: tuple[int, ...], cuts: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    """The chunks of the server, which a replay at full speed sends again."""
    body, times = b"x" * sum(cuts), tuple(range(len(cuts)))
    response = Response(200, (), body, cuts, Timeline(0, times, len(cuts)), continued=continued)
    assert response.http_chunks == sizes
    assert response.framed == b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)
