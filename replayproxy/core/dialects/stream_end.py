"""Decide whether a stream has reached the event that ends it.

    bytes ──▶ content coding undone ──▶ events (`sse`) ──▶ the event that ends the stream (`table`)

HTTP tells how a body ends only if it is framed. A stream that ends with its connection looks the same cut and complete,
and a client that has received the last event may leave before the framing ends. In both cases the events decide. They
are parsed only on demand, or when `BUFFER_BYTES` have arrived: for most streams nothing asks.

A stream that its framing ends (last-chunk, Content-Length) is complete, whatever its events are: that is what the
server sent, and what is played. Some servers send no last event, and some proxies (Caddy before 2.8) end the framing
properly although their upstream was cut. The two cannot be told apart: the answer counts as complete, and `missing_end`
names the event that is missing.
"""

from __future__ import annotations

import re

from replayproxy.core import coding
from replayproxy.core.coding_layers import DecodedState
from replayproxy.core.dialects.sse import Decoder, RawEvent
from replayproxy.core.dialects.table import dialect_of
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Ending, Headers, Response

BUFFER_BYTES = 64 * 1024
"""Bytes that are buffered before they are parsed: a chat of 200 tokens that ends properly is never parsed."""

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Bytes of one event that are kept. A longer one is known by its name only; `response.completed` has a name."""

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
"""An escape of printable ASCII: the name of a type may be written with such escapes."""


class StreamEnd:
    """Reads one stream: `feed` the bytes of the body; `ended` tells whether the last event has arrived.

    An error event ends the stream as well, if no other event follows: OpenAI's clients raise at it, and some servers
    continue to `[DONE]`.
    """

    def __init__(self, path: str, fields: Headers) -> None:
        self._rule = dialect_of(path).end
        self._coding = coding.Decoder.of(fields)
        self._events = Decoder(longest=MAX_EVENT_BYTES)
        self._types = tuple(name.encode() for name in self._rule.types)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._last: RawEvent | None = None
        self._ended = False

    @property
    def label(self) -> str:
        """The name of the last event, for people."""
        return self._rule.label

    def feed(self, data: bytes) -> None:
        """Add bytes of the body. Parses only when the buffer is full."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= BUFFER_BYTES:
            self._read()

    @property
    def ended(self) -> bool:
        """Whether the event that ends the stream has arrived."""
        self._read()
        return self._ended or (self._last is not None and _is_error(self._last))

    @property
    def must_end(self) -> bool:
        """Whether a complete stream must have such an event: its endpoint has a rule and its coding can be read."""
        return self._rule.promised and self._coding.state is not DecodedState.UNKNOWN

    def _read(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._ended or not waiting:
            return
        data = self._coding.feed(b"".join(waiting))
        # To parse each event as JSON would cost ten times as much, so none is parsed if the bytes contain no type.
        # The first event may have begun in the bytes read before: it is always checked by itself.
        look = self._may_be_of_a_type(data)
        for place, event in enumerate(self._events.feed_raw(data)):
            if self._is_end(event, look=look or place == 0):
                self._ended = True
                return
            self._last = event

    def _may_be_of_a_type(self, data: bytes) -> bool:
        return _ESCAPED_ASCII.search(data) is not None or any(kind in data for kind in self._types)

    def _is_end(self, event: RawEvent, *, look: bool) -> bool:
        name, data = event
        if self._rule.done and len(data) < 100 and data.strip() == b"[DONE]":
            return True
        if name in self._types:
            return True
        if not look or not self._may_be_of_a_type(data):
            return False
        kind = _object(data).get("type")
        return isinstance(kind, str) and kind in self._rule.types


def _is_error(event: RawEvent) -> bool:
    name, data = event
    if name == b"error":
        return True
    value = _object(data)
    return bool(value.get("error")) or value.get("type") == "error"


def _object(data: bytes) -> dict[str, object]:
    import orjson  # `ls` checks streams too, and most end with an event that is not JSON

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def end_of(path: str, response: Response) -> StreamEnd:
    """Return the state of a whole stream."""
    end = StreamEnd(path, response.headers)
    end.feed(response.body)
    return end


def missing_end(path: str, response: Response) -> str | None:
    """Return the label of the last event that a complete stream lacks although its endpoint promises one, or None."""
    if response.ending is not Ending.COMPLETE or response.status // 100 != 2 or not is_event_stream(response.headers):
        return None
    end = end_of(path, response)
    return end.label if end.must_end and not end.ended else None
