"""The bodies of requests, taken out of the bytes of a connection: by length, or in chunks.

Incremental: each reader is fed what the socket brought, gives the bytes of the body in it, and what is left behind the
body's end. Linear in what it is fed; what it holds back is bounded, and so is the work of one call. Pure: no socket, no
time.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Protocol

from replayproxy.errors import ClientError

MAX_CHUNK_LINE = 4096
"""Bytes of a chunk's size with its extensions; no client in use sends any."""

MAX_EXTENSIONS = 64 * 1024
"""Bytes of all chunk extensions of one body: a byte of body in kilobytes of extension would cost only us."""

MAX_TRAILERS = 64 * 1024

LINES_PER_CALL = 1024
"""Lines of a chunked body that one call of `feed` reads: 3 ms. One read of a socket may bring 40 000 chunks of a byte,
which took 160 ms of the event loop."""

MAX_SIZE = 15
"""Hexadecimal digits of a chunk's size."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?)")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+")

# What may follow in a line whose end has not come, by what it has so far. Each byte is looked at once: a trailer of
# 64 KiB that comes byte by byte, looked at from its beginning each time, took 30 s of the event loop.
_SIZE_BEGINS = re.compile(rb"(?:[0-9A-Fa-f]{1,15}[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?)?")
_BLANKS_GO_ON = re.compile(rb"[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?")
_TRAILER_BEGINS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++(?::[\t\x20-\x7e\x80-\xff]*+)?)?")
_NAME_GOES_ON = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*+(?::[\t\x20-\x7e\x80-\xff]*+)?")
_TEXT_GOES_ON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")


class BodyReader(Protocol):
    """Takes a body out of a stream of bytes."""

    done: bool
    has_more: bool
    """What was fed has not been read to its end: `feed` again, in another turn of the loop, with nothing."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The bytes of the body in `data`, and those behind its end. Raises `ClientError` where it is malformed."""
        ...


class LengthReader:
    """A body with a Content-Length."""

    has_more = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = not length

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """No more than the length."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self._left = 0
        self.done = True
        return data[:left], data[left:]


class _Expects(Enum):
    """What the next byte of a chunked body belongs to."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"
    NOTHING = "nothing: it is malformed"


class ChunkedReader:
    """A body in chunked coding (RFC 9112 7.1). Extensions and trailers are checked and dropped."""

    def __init__(self) -> None:
        self._expects = _Expects.SIZE
        self._left = 0
        self._part = bytearray()
        """The beginning of a line whose end has not come, without a CR at its end."""
        self._part_goes_on = _SIZE_BEGINS
        self._holds_cr = False
        """That CR has come."""
        self._unread, self._read = b"", 0
        """With `has_more`: what was fed, and how much of it has been read."""
        self._extensions = self._trailers = 0
        self.done = False
        self.has_more = False

    def __repr__(self) -> str:
        return f"<ChunkedReader {'done' if self.done else self._expects.value}>"

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The payload of the chunks in it, joined."""
        if self._expects is _Expects.NOTHING:  # what is behind a mistake must not be taken for the end of the body
            raise self._malformed()
        pieces: list[bytes] = []
        at = lines = 0
        if self.has_more:
            data, at = (self._unread[self._read :] + data, 0) if data else (self._unread, self._read)
            self._unread, self.has_more = b"", False
        elif self._holds_cr and data:
            data, self._holds_cr = b"\r" + data, False
        while at < len(data) and not self.done:
            if self._expects is _Expects.DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._expects = _Expects.DATA_END
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep_part(data[at:])
                return b"".join(pieces), b""
            if lines == LINES_PER_CALL:
                self._unread, self._read, self.has_more = data, at, True
                return b"".join(pieces), b""
            line = data[at:end]
            if self._part:
                line = bytes(self._part) + line
                self._part.clear()
            self._line(line)
            lines += 1
            at = end + 2
        return b"".join(pieces), data[at:]

    def _keep_part(self, more: bytes) -> None:
        """Keep more of a line that has no end yet; not of what can never be one."""
        part = self._part
        if more.endswith(b"\r"):
            self._holds_cr, more = True, more[:-1]
        if self._expects is _Expects.DATA_END:
            possible = not more
        elif self._expects is _Expects.SIZE:
            if len(part) <= MAX_SIZE and part.isalnum():  # the digits are counted together
                more, part[:] = bytes(part) + more, b""
            goes_on = self._part_goes_on if part else _SIZE_BEGINS
            possible = goes_on.fullmatch(more) is not None and len(part) + len(more) <= MAX_CHUNK_LINE
            text_began = goes_on is _TEXT_GOES_ON or b";" in more
            self._part_goes_on = _TEXT_GOES_ON if text_began else _BLANKS_GO_ON
        else:
            goes_on = self._part_goes_on if part else _TRAILER_BEGINS
            possible = goes_on.fullmatch(more) is not None and len(part) + len(more) <= MAX_TRAILERS
            text_began = goes_on is _TEXT_GOES_ON or b":" in more
            self._part_goes_on = _TEXT_GOES_ON if text_began else _NAME_GOES_ON
        if not possible:
            raise self._malformed()
        part += more

    def _line(self, line: bytes) -> None:
        if self._expects is _Expects.SIZE:
            found = _SIZE_LINE.fullmatch(line)
            self._extensions += len(found[2]) if found else 0
            if found is None or len(line) > MAX_CHUNK_LINE or self._extensions > MAX_EXTENSIONS:
                raise self._malformed()
            self._left = int(found[1], 16)
            self._expects = _Expects.DATA if self._left else _Expects.TRAILER
        elif self._expects is _Expects.DATA_END:
            if line:
                raise self._malformed()
            self._expects = _Expects.SIZE
        elif line:
            self._trailers += len(line)
            if _TRAILER.fullmatch(line) is None or self._trailers > MAX_TRAILERS:
                raise self._malformed()
        else:
            self.done = True

    def _malformed(self) -> ClientError:
        where = {
            _Expects.NOTHING: "a malformed chunk",
            _Expects.SIZE: "a chunk whose size is not a hexadecimal number and CRLF, or is too long",
            _Expects.DATA_END: "a chunk that is longer than its size",
            _Expects.TRAILER: "a malformed trailer, or too many",
        }
        what = where[self._expects]
        self._expects = _Expects.NOTHING
        return ClientError(f"the request has {what}", code="malformed_request")
