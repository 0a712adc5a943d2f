"""Content codings undone (RFC 9110 §8.4): gzip, deflate, br and zstd, one over the other, whole or as bytes arrive.

For comparing and splitting requests, for views and statistics, and to look for secrets. What a client or a server gets
never comes from here: bodies are passed on as they were received. Coded bodies come from strangers: output stops at a
limit, and work is linear in input and output.

    Decoder:   bytes ──▶ zstd ──▶ gzip ──▶ text         Content-Encoding: gzip, zstd; each layer is a `_Layer`
    _Layer:    member, member, …, rest                  gzip (RFC 1952 §2.2) and zstd (RFC 8878 §3.1) allow many
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Protocol

import zstandard

from replayproxy.core import headers
from replayproxy.model import Headers, Request, Response

LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded body; a megabyte of gzip can be a gigabyte of zeros."""

MOST_LAYERS = 4
"""Codings over one another; no server applies more than two, and each one costs up to LIMIT bytes of work."""

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


class State(Enum):
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


READ = frozenset({State.OPEN, State.WHOLE})
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

_CODINGS: dict[str, tuple[int, _Begin, Callable[[], _Member] | None]] = {
    "gzip": (2, _gzip, None),
    "x-gzip": (2, _gzip, None),
    "deflate": (2, _deflate, lambda: _of_zlib(-15)),
    "br": (1, _br, None),
    "zstd": (4, _zstd, None),
}
"""Of each coding: how many bytes tell its beginning, what begins there, and what the first member is otherwise."""


class _Layer:
    """One coding of a body, as its bytes arrive."""

    def __init__(self, name: str, limit: int) -> None:
        self._needed, self._begin, self._otherwise = _CODINGS[name]
        self._left = limit
        self._head = b""
        self._member: _Member | None = None
        self._members = 0
        self._step = _FIRST_STEP
        self.rest: list[bytes] = []
        self.state = State.OPEN

    def feed(self, data: bytes) -> bytes:
        if self.state in (State.REST, State.BROKEN, State.TOO_LONG):
            if self.state is State.REST:
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
            if self.state is State.TOO_LONG:
                break
            if self._member is not None:
                place += self._undo(self._member, data, place, output)
            elif self._members > 0:
                self.state = State.REST
                self.rest.append(data[place:])
            else:
                self.state = State.BROKEN
        return b"".join(output)

    def _begun(self, head: bytes) -> _Member | None:
        """The member that begins here, if one does."""
        member = self._begin(head)
        if member is None and self._otherwise is not None and self._members == 0:
            member = self._otherwise()
        if member is not None:
            self._members += 1
            self.state = State.OPEN if self._members <= MOST_MEMBERS else State.TOO_LONG
            self._step = min(_FIRST_STEP, member.step)
        return member

    def _undo(self, member: _Member, data: bytes, place: int, output: list[bytes]) -> int:
        """Feed one step; give how many bytes it took."""
        piece = data[place : place + self._step]
        # One more than is left tells a body that is as long as the limit from one that is longer.
        undone, unused = member.undo(piece, self._left + 1)
        if len(undone) > self._left:
            self.state = State.TOO_LONG
            undone = undone[: self._left]
        elif member.failed:
            self.state = State.BROKEN
        elif member.ended:
            self.state = State.WHOLE
            self._member = None
        self._left -= len(undone)
        output.append(undone)
        self._step = min(member.step, 2 * self._step)
        return len(piece) - len(unused)

    def finish(self) -> None:
        """No byte follows."""
        if self._head:  # too few bytes for a beginning
            self.rest.append(self._head)
            self.state = State.REST if self._members > 0 else State.BROKEN
            self._head = b""
        # Padding is no content (gzip's own manual; blocks of a tape).
        if self.state is State.REST and not any(piece.strip(b"\0") for piece in self.rest):
            self.state = State.WHOLE


class Decoder:
    """Undoes the codings of one body as it arrives. A body without a coding comes out as it is.

    `feed` and `finish` never raise: where a body cannot be read, `state` says so and nothing more comes out. `rest` is
    what stands behind the end of the body.
    """

    def __init__(self, names: Iterable[str], limit: int | None = None) -> None:
        """`limit` in bytes of output of each layer; LIMIT if none is given."""
        limit = LIMIT if limit is None else limit
        self.names = tuple(names)
        self._is_unknown = len(self.names) > MOST_LAYERS or not all(name in _CODINGS for name in self.names)
        self._layers = [] if self._is_unknown else [_Layer(name, limit) for name in reversed(self.names)]
        self._finished = False

    @classmethod
    def of(cls, fields: Headers, limit: int | None = None) -> Decoder:
        """For a body with these fields."""
        return cls(codings(fields), limit)

    def __repr__(self) -> str:
        return f"<Decoder {', '.join(self.names) or 'identity'}: {self.state.value}>"

    def feed(self, data: bytes) -> bytes:
        """What can be read by now of what was not read before."""
        if self._is_unknown:
            return b""
        for layer in self._layers:
            if not data:
                break
            data = layer.feed(data)
        return data

    def finish(self) -> None:
        """No byte follows."""
        for layer in self._layers:
            layer.finish()
        self._finished = True

    @property
    def state(self) -> State:
        """How far the body could be read; of many layers the worst."""
        if self._is_unknown:
            return State.UNKNOWN
        states = {layer.state for layer in self._layers}
        for state in (State.TOO_LONG, State.BROKEN, State.REST, State.OPEN):
            if state in states:
                return state
        return State.WHOLE if self._layers or self._finished else State.OPEN

    @property
    def rest(self) -> bytes:
        """The bytes that stand behind the end of a layer, outermost first."""
        return b"".join(piece for layer in self._layers for piece in layer.rest)


def codings(fields: Headers) -> tuple[str, ...]:
    """The names of a body's codings in the order in which they were applied, in lower case, without `identity`."""
    values = (value for name, value in fields if name.lower() == "content-encoding")
    names = (name.strip().lower() for value in values for name in value.split(","))
    return tuple(name for name in names if name not in ("", "identity"))


def is_coded(fields: Headers) -> bool:
    """Whether a body with these fields is other than it reads."""
    return headers.get(fields, "content-encoding") is not None and bool(codings(fields))


def is_readable(fields: Headers) -> bool:
    """Whether we know how to undo the codings, if there are any."""
    return Decoder(codings(fields)).state is not State.UNKNOWN


def undone(fields: Headers, body: bytes, limit: int | None = None) -> tuple[bytes, State]:
    """A body in one piece, as far as it can be read, and how far that is. Without a coding it is the body itself."""
    if not is_coded(fields):
        return body, State.WHOLE
    decoder = Decoder.of(fields, limit)
    read = decoder.feed(body)
    decoder.finish()
    return read, decoder.state


def readable_body(request: Request) -> bytes | None:
    """The body of a request with its codings undone; None where it cannot be read to its end.

    Done once for a request: the matcher, the redactor, the legs of a pair and the views take it from here.
    """
    body = request.body
    if not body or not is_coded(request.headers):
        return body
    if request.undone is None or request.undone[0] is not body:
        read, state = undone(request.headers, body)
        object.__setattr__(request, "undone", (body, read if state is State.WHOLE else None))
    assert request.undone is not None
    return request.undone[1]


def body_of(request: Request) -> bytes:
    """The body of a request as it reads, or as it was received where its codings cannot be undone."""
    read = readable_body(request)
    return request.body if read is None else read


def is_opaque(fields: Headers, body: bytes) -> bool:
    """Return whether a body has bytes that cannot be decoded: its coding is unknown, breaks, or ends before they do.

    Text under the wrong name of a coding can be read.
    """
    if not body or not is_coded(fields):
        return False
    _, state = undone(fields, body)
    return state not in READ and not is_text(body)


def decoded_body(fields: Headers, body: bytes) -> bytes:
    """A body in one piece as it reads; the body itself where its coding is not known or does not hold.

    For views. Of a body that breaks in the middle it is the part before.
    """
    read, state = undone(fields, body)
    if state is State.UNKNOWN or (state is State.BROKEN and not read):
        return body
    return body if (state is State.BROKEN or not read) and is_text(body) else read


def is_text(body: bytes) -> bool:
    """Whether a body is UTF-8 without control characters of binary files: then its coding is only a wrong name."""
    if b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decoded_chunks(response: Response) -> Iterator[bytes]:
    """Each chunk as it reads when it arrives; as received where the coding is not known or does not hold."""
    decoder = Decoder.of(response.headers)
    if not decoder.names or decoder.state is State.UNKNOWN:
        yield from (chunk.data for chunk in response.chunks())
        return
    begun = False
    for chunk in response.chunks():
        data = decoder.feed(chunk.data)
        begun = begun or bool(data)
        # Bytes that never were in the coding may be text under a wrong name.
        yield chunk.data if decoder.state is State.BROKEN and not begun else data


def decoded(response: Response) -> bytes:
    """The whole body so; the body itself where it has no coding."""
    if not is_coded(response.headers):
        return response.body
    return decoded_body(response.headers, response.body)
