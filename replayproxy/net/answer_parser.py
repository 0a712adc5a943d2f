"""The bytes of one answer, parsed: its interim answers, its head, the chunks of its body, its end.

The parser is llhttp (through httptools). It is fed in the read callback, and what it finds goes on in the same call.
Knows no transport, no time and no listener; what may follow from an answer, its `Receiver` decides.

    bytes ──▶ AnswerParser ──▶ interim, head, chunk …, whole        or MalformedAnswer
"""

from __future__ import annotations

from typing import NoReturn, Protocol

import httptools

from replayproxy.model import Headers
from replayproxy.net.answer_rules import MAX_HEAD, begins_as_http, framing_of


class MalformedAnswer(Exception):
    """The server sent what must not be passed on. Its text is a phrase for a message: `it ...`."""


class Receiver(Protocol):
    """Gets what an answer consists of, in the call that fed its bytes."""

    def interim_received(self, status: int) -> None:
        """An answer 1xx, which another one follows."""
        ...

    def head_received(self, status: int, fields: Headers) -> None:
        """Status, and the fields that may be passed on."""
        ...

    def part_received(self, data: bytes, *, continued: bool) -> None:
        """Bytes of the body. `continued`: they are not the last ones of their HTTP chunk."""
        ...

    def whole_received(self) -> None:
        """The answer has come to its end."""
        ...

    def surplus_received(self) -> None:
        """A message begins behind the answer, for which there is no request."""
        ...

    def switch_received(self, version: str, fields: Headers) -> str:
        """A 101. Returns why it cannot be, as a phrase; an empty one where it can."""
        ...

    def behind_switch_received(self, data: bytes) -> None:
        """What this read brought behind a 101."""
        ...


class AnswerParser:
    """Parses the answer to one request with this method."""

    def __init__(self, receiver: Receiver, method: str) -> None:
        self._receiver = receiver
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._overhead = 0
        self._beginning = b""
        self._interim = False
        self._switched = False
        self._fault = ""
        self._part: bytes | None = None
        self._within_chunk = False
        self._status: int | None = None
        self.is_over = False
        """Nothing more of this answer is to come."""
        self.framing = "none"
        """`none`, `chunked`, `length` or `eof`; from the head on."""
        self.keep_alive = False
        """Whether the head allows another request on this connection."""
        self.chunk_ended = False
        """With `chunked`: the last read ended a chunk, its size not 0, and what follows has not begun; or a line of
        it, so that whoever trusts this looks at the last two bytes too."""

    def __repr__(self) -> str:
        return f"<AnswerParser {'over' if self.is_over else self._status or 'before the head'}>"

    @property
    def has_head(self) -> bool:
        """Whether the head has come, and is fit to be passed on."""
        return self._status is not None

    def feed(self, data: bytes) -> None:
        """Parse what was read. Raises `MalformedAnswer`; what came before the fault has been received."""
        self._overhead += len(data)
        if len(self._beginning) < 8:
            self._beginning = (self._beginning + data[:10]).lstrip(b"\r\n")[:8]
            if not begins_as_http(self._beginning):
                raise MalformedAnswer("it does not begin with HTTP/")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._overhead = 0
            self._receiver.behind_switch_received(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise MalformedAnswer(self._fault or str(error) or type(error).__name__) from error
        finally:
            if self._part is not None:
                self._hand_out(continued=True)
        # Interim answers, reason phrases, chunk extensions and trailers have no length that a parser bounds.
        if self._overhead > MAX_HEAD and not self.is_over:
            raise MalformedAnswer(f"more than {MAX_HEAD} bytes that are not a body")

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self.is_over:
            self._receiver.surplus_received()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status is not None:
            return  # a trailer: may be dropped (RFC 9110 section 6.5.1)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            self._refuse("the head is too long")
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self.is_over:
            return
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if status == 101:
            if fault := self._receiver.switch_received(version, tuple(self._fields)):
                self._refuse(fault)
            self._switched = True
            return
        if 100 <= status < 200:
            self._interim = True
            self._receiver.interim_received(status)
            return
        try:
            self.framing, fields = framing_of(self._method, status, version, self._fields)
        except ValueError as fault:
            self._refuse(str(fault))
        self._status = status
        self.keep_alive = self._parser.should_keep_alive()
        self._receiver.head_received(status, fields)
        if self._method == "HEAD":
            self.keep_alive = False  # llhttp cannot be told that no body follows
            self._end()

    def on_body(self, data: bytes) -> None:
        if self.is_over:
            return
        self._overhead = 0
        if self.framing == "chunked":
            # Whether this read ends the HTTP chunk is known in the next callback of the parser, or not in this read.
            self._part = data
            return
        self._receiver.part_received(data, continued=False)

    def on_chunk_header(self) -> None:
        self.chunk_ended = False

    def on_chunk_complete(self) -> None:
        self.chunk_ended = True
        if self.is_over:
            return
        if self._part is not None:
            self._hand_out(continued=False)
        elif self._within_chunk:  # its last bytes came with an earlier read, and only its line end with this one
            self._within_chunk = False
            self._receiver.part_received(b"", continued=False)

    def on_message_complete(self) -> None:
        if self._switched:
            return
        if self._interim:
            self._interim = False
            self._fields.clear()
        elif not self.is_over:
            self._end()

    def _hand_out(self, *, continued: bool) -> None:
        data, self._part = self._part, None
        assert data is not None
        self._within_chunk = continued
        self._receiver.part_received(data, continued=continued)

    def _end(self) -> None:
        self.is_over = True
        self._receiver.whole_received()

    def _refuse(self, fault: str) -> NoReturn:
        """Stop llhttp, which would only say that a callback failed."""
        self._fault = fault
        raise ValueError(fault)
