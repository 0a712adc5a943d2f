"""Frames: only what we would write ourselves is one, and it is the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.net.frames import FRAME_HEADS, frame_size, frames, whole_frame


@pytest.mark.parametrize(("digits", "size"), [(b"1", 1), (b"d4", 212), (b"fffff", 0xFFFFF)])
def test_a_size_is_read_as_we_write_it(digits: bytes, size: int) -> None:
    """In hexadecimal digits, lower case."""
    assert frame_size(digits) == size


@pytest.mark.parametrize(
    "digits", [b"", b"0", b"00", b"01", b"D4", b"0xd4", b"d_4", b"+1", b"-1", b" 1", b"1 ", b"1;a", b"g"]
)
def test_no_other_spelling_of_a_size_is_one(digits: bytes) -> None:
    """Python reads many of them as numbers, and so may a server; a client need not. The last chunk is not a frame."""
    assert frame_size(digits) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"2\r\nab",
        b"2\r\nab\r",
        b"2\r\nabc\r\n",
        b"2\r\nab\r\n0\r\n\r\n",
        b"2\r\nab\n\n",
        b"2\nab\r\n",
        b"02\r\nab\r\n",
        b"2;x\r\nab\r\n",
        b"0\r\n\r\n",
        b"\r\nab\r\n",
    ],
)
def test_what_is_not_exactly_one_frame_is_none(data: bytes) -> None:
    """Cut, too long, two of them, extensions, the last chunk, other line ends: all of that is parsed."""
    assert whole_frame(data) == b""


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.sampled_from([b"", b"0\r\n\r\n", b"5\r\nab", b"A"])
)
def test_frames_are_taken_off_the_beginning(chunks: list[bytes], rest: bytes) -> None:
    """A property: each chunk, and its bytes as they came; nothing of what is behind them."""
    sent = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    assert list(frames(b"".join(sent) + rest)) == list(zip(chunks, sent, strict=True))
    assert all(whole_frame(frame) == chunk for frame, chunk in zip(sent, chunks, strict=True))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 255, 256, 257, 2000, 2041, 2042, 3000])
def test_a_frame_is_known_by_its_length_and_its_first_bytes(size: int) -> None:
    """Where a digit more begins, too. What is longer than the table is one of `frames`."""
    chunk = b"\r" * size
    frame = b"%x\r\n%b\r\n" % (size, chunk)
    assert whole_frame(frame) == (chunk if len(frame) < len(FRAME_HEADS) else b"")
    assert list(frames(frame)) == [(chunk, frame)]
    assert whole_frame(b"%x\r\n%b\r\n" % (size + 1, chunk)) == b""
