"""Bodies, header fields and times in the JSON of other programs, and answers made of what these have kept.

Values of a file that is imported have any type: what is not what it should be raises `ValueError`, which the reader
turns into an error that names the place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from replayproxy.core.dialects.sse import Decoder, encode
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Chunk, End, Ending, Head, Headers, Request, Response

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

JSON_FIELDS: Headers = (("content-type", "application/json"),)
STREAM_FIELDS: Headers = (("content-type", "text/event-stream; charset=utf-8"),)

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"

MOST_NS = 1 << 62
"""A time that a column of SQLite holds, and so does a sum of two."""

FRAMING = frozenset({"transfer-encoding", "content-length", "connection", "keep-alive", "content-encoding"})
"""Fields that no longer describe a body that another program has decoded."""


# Values of any type


@contextmanager
def located(error: Callable[[str], Exception], where: str) -> Iterator[None]:
    """Turn a `ValueError` of the block into the error of a file, with the place in it."""
    try:
        yield
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem


def object_in(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that must be an object. Raises `ValueError`."""
    found = value.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} is not an object")
    return found


def text_in(value: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A member that must be text. Raises `ValueError`."""
    found = value.get(name, default)
    if found is None:
        found = default
    if not isinstance(found, str):
        raise ValueError(f"{name!r} is not text")
    if not found.isascii():
        found.encode()  # half of a surrogate pair raises a ValueError: it cannot be stored as text
    return found


def status_in(value: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A member that must be an HTTP status. Raises `ValueError`."""
    found = value.get(name, default)
    if isinstance(found, str) and found.isdecimal() and len(found) == 3:
        found = int(found)
    if type(found) is not int or not 100 <= found <= 599:
        raise ValueError(f"{name!r} is not a status from 100 to 599")
    return found


def number_in(value: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """A member that must be a finite number that is not negative. Raises `ValueError`."""
    found = value.get(name, default)
    if found is None:
        found = default
    if type(found) not in (int, float) or not 0 <= found < 1e18:
        raise ValueError(f"{name!r} is not a number of at least 0")
    return float(found)


def whole_in(value: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A member that must be a whole number from 0 to 2^62. Raises `ValueError`."""
    found = value.get(name, default)
    if type(found) is not int or not 0 <= found <= MOST_NS:
        raise ValueError(f"{name!r} is not a whole number of at least 0")
    return found


# Times


def iso_time(ns: int) -> str:
    """Wall time with microseconds, as ISO 8601 in UTC: `2026-11-18T09:14:03.118000Z`."""
    return (_EPOCH + timedelta(microseconds=ns // 1000)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ns_of(text: object) -> int:
    """Return the ns since the Unix epoch of an ISO 8601 time; without a zone it is UTC. Raises `ValueError`."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a time")
    moment = datetime.fromisoformat(text.strip())
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    ns = (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if ns < 0:
        raise ValueError(f"{text} is before 1970")
    return ns


# Header fields


def fields_of(value: object) -> Headers:
    """Header fields of a list of pairs, a list of objects with name and value, or an object. Raises `ValueError`."""
    lines: list[tuple[object, object]] = []
    if isinstance(value, dict):
        for name, values in value.items():
            lines += [(name, each) for each in (values if isinstance(values, list | tuple) else [values])]
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, dict):
                lines.append((item.get("name"), item.get("value")))
            elif isinstance(item, list | tuple) and len(item) == 2:
                lines.append((item[0], item[1]))
            else:
                raise ValueError("a header field is not a name and a value")
    elif value is not None:
        raise ValueError("the header fields are not a list")
    return tuple((_token(name), _latin(field)) for name, field in lines)


def _token(name: object) -> str:
    text = _latin(name)
    # A name or value with a line end would become another field when it is replayed (RFC 9110 5.5).
    if not text or any(character in text for character in "\r\n\0 :\t"):
        raise ValueError(f"{text[:80]!r} is not the name of a header field")
    return text


def _latin(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError("a header field is not text")
    text = value.encode("latin-1", "replace").decode("latin-1") if value.isascii() else _utf8_as_latin(value)
    if any(character in text for character in "\r\n\0"):
        raise ValueError("a header field has a line end in it")
    return text


def _utf8_as_latin(value: str) -> str:
    """Field values are bytes, each a character here; other programs decode them as UTF-8."""
    try:
        return value.encode("latin-1").decode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass").decode("latin-1")


def target_of(url: str) -> str:
    """The path and query of a URL, or of what is a path already. Raises `ValueError`."""
    parts = urlsplit(url)
    path = parts.path or "/"
    if not path.startswith("/"):
        raise ValueError(f"{url[:200]!r} is neither a URL nor a path")
    return checked_target(f"{path}?{parts.query}" if parts.query else path)


def checked_target(target: str) -> str:
    """A path and query as it may stand in a request line, where a character is a byte. Raises `ValueError`."""
    if any(ord(character) > 255 for character in target):  # a browser sends these in UTF-8 and percent codes
        target = quote(target, safe="".join(map(chr, range(33, 127))), errors="surrogatepass")
    if not target or any(character <= " " or character == "\x7f" for character in target):
        raise ValueError(f"{target[:200]!r} is empty, or has a blank or a control character in it")
    return target


def printable_target(target: str) -> str:
    """A target with its bytes beyond ASCII in percent codes, as it may stand in a URL."""
    return quote(target, safe="".join(map(chr, range(33, 127))), encoding="latin-1")


def is_method(method: str) -> bool:
    """Whether this may stand in a request line (RFC 9110 9.1)."""
    return bool(method) and len(method) <= 64 and method.isascii() and method.replace("-", "").isalnum()


# Bodies


def encoded_body(name: str, content: bytes) -> dict[str, str]:
    """A body as members of a JSON object: as text, or as base64 under the name with `_base64` where it is not UTF-8."""
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def decoded_body(value: Mapping[str, Any], name: str) -> bytes:
    """What `encoded_body` made, or bytes as they are. Raises `ValueError`."""
    if isinstance(found := value.get(name), bytes):
        return found
    if (text := value.get(name)) is not None:
        if not isinstance(text, str):
            raise ValueError(f"{name!r} is not text")
        return text.encode("utf-8", "surrogatepass")
    return bytes_of_base64(value.get(f"{name}_base64", ""))


def bytes_of_base64(text: object) -> bytes:
    """Decode base64. Raises `ValueError`."""
    if not isinstance(text, str):
        raise ValueError("what should be base64 is not text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"this is not base64 ({error})") from error


def json_bytes(value: object) -> bytes:
    """A value as JSON, as short as it can be. Raises `ValueError` for what JSON cannot express."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"this cannot be written as JSON ({error})") from error


def json_request(body: object, target: str = CHAT, fields: Headers = JSON_FIELDS, method: str = "POST") -> Request:
    """A request whose body another program has kept as a JSON value. Raises `ValueError`."""
    return Request(method, target, fields, json_bytes(body))


# Answers


def whole_answer(status: int, fields: Headers, body: bytes, at: int = 0, end: int | None = None) -> Response:
    """An answer in one chunk, which came at `at` ns and ended at `end`; a client has it at once."""
    end = at if end is None else end
    if not 0 <= at <= end <= MOST_NS:
        raise ValueError("the answer ends before it begins")
    chunks = [Chunk(end, body)] if body else []
    return Response.of(Head(at, status, fields), chunks, End(end, Ending.COMPLETE))


def streamed_answer(
    pieces: Sequence[bytes], times: Sequence[int], fields: Headers = STREAM_FIELDS, status: int = 200, head: int = 0
) -> Response:
    """An answer whose pieces came at these times, in ns; each becomes a chunk. Raises `ValueError`."""
    if len(pieces) != len(times) or any(not 0 <= at <= MOST_NS for at in times):
        raise ValueError("the times do not fit the chunks")
    rising = list(accumulate(times, max, initial=head))[1:]
    chunks = [Chunk(at, data) for at, data in zip(rising, pieces, strict=True) if data]
    return Response.of(Head(head, status, fields), chunks, End(rising[-1] if rising else head, Ending.COMPLETE))


def cut_at_events(response: Response) -> Response:
    """The same answer with a chunk per event, if it is a stream of events that came in one piece."""
    if len(response.cuts) != 1 or not is_event_stream(response.headers):
        return response
    body, cuts = response.body, event_ends(response.body)
    if len(cuts) < 2:
        return response
    at = response.timeline.chunks[0]
    pieces = [Chunk(at, body[start:stop]) for start, stop in pairwise((0, *cuts))]
    head = Head(response.timeline.head, response.status, response.headers)
    return Response.of(head, pieces, End(response.timeline.end, response.ending))


def event_ends(body: bytes) -> list[int]:
    """Where the events of a stream end: after the blank line. The last one is the end of the body."""
    decoder, ends, at = Decoder(), list[int](), 0
    for line in body.splitlines(keepends=True):
        at += len(line)
        if decoder.feed(line):
            ends.append(at)
    # The line feed of a CRLF is a line of its own to splitlines only if its CR was not the end of one.
    if not ends or ends[-1] != len(body):
        ends.append(len(body))
    return ends


def events_bytes(events: Iterable[tuple[str | None, str]]) -> list[bytes]:
    """Events as vLLM writes them, of their names and data; data with line ends has several lines."""
    return [
        b"".join([b"event: " + name.encode() + b"\n" if name else b"", *(_data_lines(data)), b"\n"])
        for name, data in events
    ]


def _data_lines(data: str) -> Iterator[bytes]:
    if "\n" not in data:
        yield encode(data.encode("utf-8", "surrogatepass"))[:-1]
        return
    for line in data.split("\n"):
        yield b"data: " + line.encode("utf-8", "surrogatepass") + b"\n"


def without_framing(fields: Headers) -> Headers:
    """The fields of an answer whose body was decoded: without its codings and its length."""
    return tuple(line for line in fields if line[0].lower() not in FRAMING)
