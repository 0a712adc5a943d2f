"""One content coding of a body, undone as its bytes arrive: gzip, deflate, br or zstd (RFC 9110 §8.4).

    CodingLayer:   member, member, …, rest       gzip (RFC 1952 §2.2) and zstd (RFC 8878 §3.1) allow many

Coded bodies come from strangers: output stops at a limit, and work is linear in input and output. Knows no fields and
no messages; `coding` puts layers over one another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import zstandard

LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded body; a megabyte of gzip can be a gigabyte of zeros."""

WINDOW = 8 * 1024 * 1024
"""Bytes that zstd may refer back to: RFC 9659 §3 forbids senders more."""

MOST_MEMBERS = 64 * 1024
"""Members of one layer: a stream with one for each event has thousands, and each takes up to 40 us."""

_STEP = 64 * 1024
"""Bytes that a member is fed at once. After a member's end it begins anew at _FIRST_STEP: what is fed beyond the end is
copied once more, so ten thousand members in one piece would cost the square of their number."""

_FIRST_STEP = 128

_ZSTD_STEP = 512
"""Bytes of zstd fed at once: four bytes can be 128 KiB of zeros, and this interface has no limit of its output."""

_REPEATED = 1024 * 1024
"""Bytes of a stream that are kept, to read it again where it fails (see `_Member`)."""


class DecodedState(Enum):
    """How far a body could be read."""

    OPEN = "open"
    """All of it so far; more may come. A body that was cut stays in this state."""
    WHOLE = "whole"
    """All of it, and it has ended where it should."""
    REST = "rest"
    """All of it, but behind its end there are bytes that are not in the coding. Clients ignore them."""
    BROKEN = "broken"
    """Up to a place that is against the rules of the coding."""
    TOO_LONG = "too long"
    """Up to the limit of bytes or members."""
    UNKNOWN = "unknown"
    """Not at all: the coding is not known, or too many are stacked."""


READ = frozenset({DecodedState.OPEN, DecodedState.WHOLE})
"""The states in which everything that was received could be read."""


class _Stream(Protocol):
    """One stream of a coding, by the library that knows it."""

    ended: bool
    unused: bytes
    """What stands behind the end."""

    @property
    def error(self) -> type[Exception]:
        """What `feed` raises."""

    def feed(self, data: bytes, most: int) -> bytes:
        """At most about `most` bytes of output. Raises `error`."""


class _Zlib:
    def __init__(self, window: int) -> None:
        self._stream = zlib.decompressobj(window)
        self.error = zlib.error
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes, most: int) -> bytes:
        output = self._stream.decompress(data, most)
        self.ended, self.unused = self._stream.eof, self._stream.unused_data
        return output


class _Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(write_size=32 * 1024)
        self.error = zstandard.ZstdError
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes, most: int) -> bytes:  # noqa: ARG002  # see _ZSTD_STEP
        output = self._stream.decompress(data)
        self.ended, self.unused = self._stream.eof, self._stream.unused_data
        return output


class _Brotli:
    def __init__(self) -> None:
        import brotli  # few bodies are in br, and `ls` looks into bodies: it must not load what they do not need

        self.error = brotli.error
        self._stream = brotli.Decompressor()
        self.ended = False
        self.unused = b""

    def feed(self, data: bytes, most: int) -> bytes:
        output = self._stream.process(data, output_buffer_limit=most)
        size = len(output)
        # One call hands out 32 KiB at most, and the library does not say that it holds more.
        while size < most and not self._stream.is_finished():
            more = self._stream.process(b"", output_buffer_limit=most - size)
            if not more:
                break
            output += more
            size += len(more)
        self.ended = self._stream.is_finished()
        return bytes(output)


class _Member:
    """One stream from its beginning to its end.

    Where the libraries fail, the output of the failing call is lost: all of a short body with a wrong checksum, and in
    br, which does not say where its end is, all of a short body with one byte behind it. Then the stream is read again,
    and the last step byte by byte: at most once for each stream, so that work stays linear.
    """

    def __init__(self, begin: Callable[[], _Stream], step: int) -> None:
        self._begin = begin
        self._stream = begin()
        self._fed = bytearray()
        self.step = step
        self.ended = False
        self.failed = False

    def undo(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        """The output, and the bytes that stand behind the end."""
        try:
            output = self._stream.feed(data, most)
        except self._stream.error:
            return self._again(data, most)
        self.ended = self._stream.ended
        if len(self._fed) < _REPEATED:
            self._fed += data
        return output, self._stream.unused

    def _again(self, data: bytes, most: int) -> tuple[bytes, bytes]:
        output: list[bytes] = []
        if len(self._fed) < _REPEATED:
            stream = self._begin()
            try:
                for place in range(0, len(self._fed), self.step):
                    stream.feed(bytes(self._fed[place : place + self.step]), LIMIT)
                for place in range(len(data)):
                    output.append(stream.feed(data[place : place + 1], most))
                    most -= len(output[-1])
                    if stream.ended:
                        self.ended = True
                        return b"".join(output), data[place + 1 :]
                    if most <= 0:
                        return b"".join(output), b""
            except stream.error:
                pass  # as before
        self.failed = True
        return b"".join(output), b""


def _of_zlib(window: int) -> _Member:
    return _Member(lambda: _Zlib(window), _STEP)


def _gzip(head: bytes) -> _Member | None:
    return _of_zlib(31) if head.startswith(b"\x1f\x8b") else None


def _deflate(head: bytes) -> _Member | None:
    """With zlib's header (RFC 1950 §2.2), as RFC 9110 asks for; or as gzip, which some servers send."""
    if head.startswith(b"\x1f\x8b"):
        return _of_zlib(31)
    if len(head) >= 2 and head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0:
        return _of_zlib(15)
    return None


def _zstd(head: bytes) -> _Member | None:
    """A frame, or one to be skipped (RFC 8878 §3.1)."""
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return _Member(_Zstd, _ZSTD_STEP)
    return None


def _br(_: bytes) -> _Member:
    return _Member(_Brotli, _STEP)


_Begin = Callable[[bytes], _Member | None]

CODINGS: dict[str, tuple[int, _Begin, Callable[[], _Member] | None]] = {
    "gzip": (2, _gzip, None),
    "x-gzip": (2, _gzip, None),
    "deflate": (2, _deflate, lambda: _of_zlib(-15)),
    "br": (1, _br, None),
    "zstd": (4, _zstd, None),
}
"""Of each coding: how many bytes tell its beginning, what begins there, and what the first member is otherwise."""


class CodingLayer:
    """One coding of a body, as its bytes arrive. `rest` is what stands behind the end of the body."""

    def __init__(self, name: str, limit: int) -> None:
        """`name` is one of `CODINGS`; `limit` in bytes of output."""
        self._needed, self._begin, self._otherwise = CODINGS[name]
        self._left = limit
        self._head = b""
        self._member: _Member | None = None
        self._members = 0
        self._step = _FIRST_STEP
        self.rest: list[bytes] = []
        self.state = DecodedState.OPEN

    def feed(self, data: bytes) -> bytes:
        """Return what can be read by now of what was not read before."""
        if self.state in (DecodedState.REST, DecodedState.BROKEN, DecodedState.TOO_LONG):
            if self.state is DecodedState.REST:
                self.rest.append(data)
            return b""
        if self._head:
            data, self._head = self._head + data, b""
        output: list[bytes] = []
        place = 0
        while place < len(data) and self.state in READ:
            if self._member is None and len(data) - place < self._needed:
                self._head = data[place:]
                break
            self._member = self._member or self._begun(data[place : place + self._needed])
            if self.state is DecodedState.TOO_LONG:
                break
            if self._member is not None:
                place += self._undo(self._member, data, place, output)
            elif self._members > 0:
                self.state = DecodedState.REST
                self.rest.append(data[place:])
            else:
                self.state = DecodedState.BROKEN
        return b"".join(output)

    def _begun(self, head: bytes) -> _Member | None:
        """The member that begins here, if one does."""
        member = self._begin(head)
        if member is None and self._otherwise is not None and self._members == 0:
            member = self._otherwise()
        if member is not None:
            self._members += 1
            self.state = DecodedState.OPEN if self._members <= MOST_MEMBERS else DecodedState.TOO_LONG
            self._step = min(_FIRST_STEP, member.step)
        return member

    def _undo(self, member: _Member, data: bytes, place: int, output: list[bytes]) -> int:
        """Feed one step; give how many bytes it took."""
        piece = data[place : place + self._step]
        # One more than is left tells a body that is as long as the limit from one that is longer.
        undone, unused = member.undo(piece, self._left + 1)
        if len(undone) > self._left:
            self.state = DecodedState.TOO_LONG
            undone = undone[: self._left]
        elif member.failed:
            self.state = DecodedState.BROKEN
        elif member.ended:
            self.state = DecodedState.WHOLE
            self._member = None
        self._left -= len(undone)
        output.append(undone)
        self._step = min(member.step, 2 * self._step)
        return len(piece) - len(unused)

    def finish(self) -> None:
        """No byte follows."""
        if self._head:  # too few bytes for a beginning
            self.rest.append(self._head)
            self.state = DecodedState.REST if self._members > 0 else DecodedState.BROKEN
            self._head = b""
        # Padding is no content (gzip's own manual; blocks of a tape).
        if self.state is DecodedState.REST and not any(piece.strip(b"\0") for piece in self.rest):
            self.state = DecodedState.WHOLE
