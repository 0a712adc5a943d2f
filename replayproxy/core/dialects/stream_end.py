"""Which event ends a stream, per dialect, and whether a stream has come to it.

    bytes ──▶ content coding undone ──▶ events (`sse`) ──▶ the one that ends the stream

HTTP tells how a body ends only where it is framed; a stream that ends with its connection looks the same cut and whole,
and a client that has seen the last event may leave before the framing says that there is no more. Then the events
decide. Reading is put off until somebody wants to know, or `WAITING` bytes have come: of most streams nobody does.

A stream that its framing ends (last-chunk, Content-Length) is whole as HTTP, whatever its events are: that is what the
server sent, and what is played. Some servers send no last event, and some proxies (Caddy before 2.8) end a stream well
whose server was cut. Nobody can tell these two apart: the answer stays whole, and `missing_end` says what it lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from replayproxy.core import coding
from replayproxy.core.dialects.sse import Decoder, RawEvent
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Ending, Headers, Response

WAITING = 64 * 1024
"""Bytes that may wait to be read: a chat of 200 tokens that ends well is never read at all."""

LONGEST = 8 * 1024 * 1024
"""Bytes of one event that are kept; a longer one is known by its name alone, and `response.completed` has one."""

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
"""Behind such escapes the name of a type may hide; each is in ASCII."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a kind of stream ends.

    `types` are names of events, or what their JSON says of its `type`; `done`: also by the data `[DONE]`. `promises`:
    a stream without such an event is cut where the end of its connection is its end, and people are told of one that
    HTTP ended. `label` is how people call the end.
    """

    label: str
    types: tuple[str, ...] = ()
    done: bool = False
    promises: bool = True


CHAT = Dialect("[DONE]", done=True)
"""`/chat/completions`, `/completions`. Not `finish_reason`: there is one for each of `n` choices, and usage follows."""

RESPONSES = Dialect("response.completed", ("response.completed", "response.failed", "response.incomplete"), done=True)

MESSAGES = Dialect("message_stop", ("message_stop",))
"""Anthropic's. vLLM says `[DONE]` too, behind the end."""

OTHER = Dialect(
    "an end",
    (
        *RESPONSES.types,
        *MESSAGES.types,
        *("response.done", "speech.audio.done", "transcript.text.done"),
        *("image_generation.completed", "image_edit.completed"),
    ),
    done=True,
    promises=False,
)
"""Any other endpoint: SGLang's `/generate`, `/audio/speech`, what does not exist yet. It may end by any of these."""


def dialect_of(path: str) -> Dialect:
    """By the last part of the path, whatever stands before it and however many slashes there are."""
    parts = [part for part in path.split("/") if part]
    match parts[-1:]:
        case ["completions"]:
            return CHAT
        case ["messages"]:
            return MESSAGES
        case ["responses"]:
            return RESPONSES
        case _:
            return OTHER


class StreamEnd:
    """Reads one stream. `feed` it the body's bytes as they come; `ended` says whether the last event has come.

    What an event that reports an error ends is over too, as long as no other event follows it: OpenAI's clients raise
    at it, and some servers go on to `[DONE]`.
    """

    def __init__(self, path: str, fields: Headers) -> None:
        self.dialect = dialect_of(path)
        self._coding = coding.Decoder.of(fields)
        self._events = Decoder(longest=LONGEST)
        self._types = tuple(name.encode() for name in self.dialect.types)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._last: RawEvent | None = None
        self._ended = False

    def feed(self, data: bytes) -> None:
        """More of the body. Costs nothing but now and then."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= WAITING:
            self._read()

    @property
    def ended(self) -> bool:
        """Whether the event that ends the stream has come."""
        self._read()
        return self._ended or (self._last is not None and _is_error(self._last))

    @property
    def must_end(self) -> bool:
        """Whether a stream should have such an event: a rule is known for its endpoint, and it can be read."""
        return self.dialect.promises and self._coding.state is not coding.State.UNKNOWN

    def _read(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._ended or not waiting:
            return
        data = self._coding.feed(b"".join(waiting))
        # To read each event as JSON would cost ten times as much. A type may hide behind escapes; and an event that has
        # begun in what was read before is looked at in any case.
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
        if self.dialect.done and len(data) < 100 and data.strip() == b"[DONE]":
            return True
        if name in self._types:
            return True
        if not look or not self._may_be_of_a_type(data):
            return False
        kind = _object(data).get("type")
        return isinstance(kind, str) and kind in self.dialect.types


def _is_error(event: RawEvent) -> bool:
    name, data = event
    if name == b"error":
        return True
    said = _object(data)
    return bool(said.get("error")) or said.get("type") == "error"


def _object(data: bytes) -> dict[str, object]:
    import orjson  # `ls` reads streams too, and most end by an event that is not JSON

    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def end_of(path: str, response: Response) -> StreamEnd:
    """The verdict on a whole stream."""
    end = StreamEnd(path, response.headers)
    end.feed(response.body)
    return end


def missing_end(path: str, response: Response) -> str | None:
    """What people call the last event that a whole stream lacks, although others of its endpoint have one; or None."""
    if response.ending is not Ending.COMPLETE or response.status // 100 != 2 or not is_event_stream(response.headers):
        return None
    end = end_of(path, response)
    return end.dialect.label if end.must_end and not end.ended else None
