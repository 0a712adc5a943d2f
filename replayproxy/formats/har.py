"""HTTP Archive 1.2: browsers, mitmproxy, Postman and Insomnia read and write it.

http://www.softwareishard.com/blog/har-12-spec/. The standard has no place for the chunks of an answer. Written are
`_eventSourceMessages`, which some readers know, and `_chunks`, which is ours: the ms and the bytes of each chunk.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from http.client import responses as REASONS
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlencode

import orjson

from replayproxy.core.coding import body_of, decoded, decoded_chunks, is_coded
from replayproxy.core.dialects.facts import events_at
from replayproxy.core.headers import get, is_event_stream, without
from replayproxy.formats.bodies import (
    bytes_of_base64,
    events_bytes,
    fields_of,
    is_method,
    iso_time,
    located,
    ns_of,
    number_in,
    object_in,
    printable_target,
    streamed_answer,
    target_of,
    text_in,
    whole_answer,
    without_framing,
)
from replayproxy.formats.format import (
    Beat,
    ExportContext,
    Format,
    ImportedExchange,
    Kept,
    Notes,
    Part,
    StoredExchange,
)
from replayproxy.formats.source import SourceFile
from replayproxy.model import Ending, Exchange, Headers, Request, Response

MS = 1_000_000

CODING_UNDONE = "the content coding of a body, which was undone"


# Writing


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one document; each entry is written as it comes."""
    creator = orjson.dumps({"name": "replayproxy", "version": context.version})
    comment = orjson.dumps(context.name)
    out.write(b'{"log":{"version":"1.2","creator":' + creator + b',"comment":' + comment + b',"pages":[],"entries":[')
    for place, (row, exchange) in enumerate(recordings):
        out.write(b",\n" if place else b"\n")
        out.write(orjson.dumps(_entry(row["id"], exchange, context)))
    out.write(b"\n]}}\n")


def _entry(name: str, exchange: Exchange, context: ExportContext) -> dict[str, Any]:
    response, timeline = exchange.response, exchange.response.timeline
    if is_coded(response.headers):
        context.notes.left_out[CODING_UNDONE] += 1
    entry: dict[str, Any] = {
        "startedDateTime": iso_time(exchange.recorded_at),
        "time": timeline.end / MS,
        "request": _request(exchange.request, context.base_url),
        "response": _response(response),
        "cache": {},
        "timings": {
            **dict.fromkeys(("blocked", "dns", "connect", "ssl"), -1),
            "send": 0,
            "wait": timeline.head / MS,
            "receive": (timeline.end - timeline.head) / MS,
        },
        "_id": name,
        "_ending": response.ending.name.lower(),
        "_chunks": _chunks(response),
    }
    if response.ending is not Ending.COMPLETE:
        entry["comment"] = f"the answer ended early: {response.ending.name.lower()}"
    if is_event_stream(response.headers):
        entry["_resourceType"] = "eventsource"
        entry["_eventSourceMessages"] = [
            {"time": (exchange.recorded_at + at) / 1e9, "eventName": event.event, "eventId": "", "data": event.data}
            for at, event in events_at(response)
        ]
    return entry


def _request(request: Request, base_url: str) -> dict[str, Any]:
    written: dict[str, Any] = {
        "method": request.method,
        "url": base_url.rstrip("/") + printable_target(request.target),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _lines(request.headers),
        "queryString": [{"name": n, "value": v} for n, v in parse_qsl(request.query, keep_blank_values=True)],
        "headersSize": -1,
        "bodySize": len(request.body),
    }
    if request.body:
        media = get(request.headers, "content-type") or "application/octet-stream"
        body = body_of(request)
        try:
            written["postData"] = {"mimeType": media, "text": body.decode()}
        except UnicodeDecodeError:  # the standard has no encoding here; mitmproxy and others write this one
            encoded = base64.b64encode(body).decode()
            written["postData"] = {"mimeType": media, "text": encoded, "_encoding": "base64"}
    return written


def _response(response: Response) -> dict[str, Any]:
    body = decoded(response)
    content: dict[str, Any] = {
        "size": len(body),
        "mimeType": get(response.headers, "content-type") or "application/octet-stream",
    }
    try:
        content["text"] = body.decode()
    except UnicodeDecodeError:
        content |= {"text": base64.b64encode(body).decode(), "encoding": "base64"}
    return {
        "status": response.status,
        "statusText": REASONS.get(response.status, ""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _lines(response.headers),
        "content": content,
        "redirectURL": get(response.headers, "location") or "",
        "headersSize": -1,
        "bodySize": len(response.body),
    }


def _chunks(response: Response) -> list[tuple[float, int]]:
    """The ms and the decoded bytes of each chunk; none where a coding breaks, so that these are not all of the body."""
    sizes = [len(data) for data in decoded_chunks(response)]
    if sum(sizes) != len(decoded(response)):
        return []
    return [(at / MS, size) for at, size in zip(response.timeline.chunks, sizes, strict=True)]


def _lines(fields: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in fields]


# Reading


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the entries that have an answer."""
    document = source.document()
    with located(source.error, "it"):
        entries = object_in(document, "log").get("entries") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("there is no log with entries")
    for number, entry in enumerate(entries, 1):
        with located(source.error, f"entry {number}"):
            if not isinstance(entry, dict):
                raise ValueError("it is not an object")
            answer = object_in(entry, "response")
            if (why := _why_not(entry, answer)) is not None:
                notes.skipped[why] += 1
                continue
            yield _exchange(entry, answer)


def _why_not(entry: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    """Why an entry is not a recording, or None."""
    if not answer.get("status"):
        return "an entry without an answer"
    if answer.get("status") == 101 or "_webSocketMessages" in entry:
        return "a WebSocket"
    content = answer.get("content")
    has_text = isinstance(content, dict) and isinstance(content.get("text"), str)
    size = content.get("size") if isinstance(content, dict) else 0
    if not has_text and isinstance(size, int) and size > 0:
        return "an entry whose body was not saved (choose “with content” when you save it)"
    return None


def _exchange(entry: Mapping[str, Any], answer: Mapping[str, Any]) -> ImportedExchange:
    response, beat = _answer(entry, answer)
    return ImportedExchange(
        Exchange(_request_of(object_in(entry, "request")), response, ns_of(entry.get("startedDateTime"))), beat
    )


def _request_of(value: Mapping[str, Any]) -> Request:
    method = text_in(value, "method")
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    body = b""
    if isinstance(posted := value.get("postData"), dict):
        text, encoding = text_in(posted, "text", ""), posted.get("_encoding", posted.get("encoding"))
        body = bytes_of_base64(text) if encoding == "base64" else text.encode("utf-8", "surrogatepass")
        if not body and isinstance(posted.get("params"), list):
            pairs = [(str(each.get("name")), str(each.get("value", ""))) for each in posted["params"]]
            body = urlencode(pairs).encode()
    fields = without(_fields(value), "content-encoding", "content-length")
    return Request(method, target_of(text_in(value, "url")), fields, body)


def _fields(value: Mapping[str, Any]) -> Headers:
    """The header fields, without the pseudo-fields of HTTP/2 (RFC 9113 8.3)."""
    lines = value.get("headers") or []
    if not isinstance(lines, list):
        raise ValueError("'headers' is not a list")
    return fields_of([line for line in lines if not (isinstance(line, dict) and str(line.get("name")).startswith(":"))])


def _answer(entry: Mapping[str, Any], value: Mapping[str, Any]) -> tuple[Response, Beat]:
    status = value["status"]
    if type(status) is not int or not 100 <= status <= 599:
        raise ValueError(f"{status!r} is not a status")
    fields = without_framing(_fields(value))
    content = object_in(value, "content")
    text = text_in(content, "text", "")
    body = bytes_of_base64(text) if content.get("encoding") == "base64" else text.encode("utf-8", "surrogatepass")
    timings = entry.get("timings") if isinstance(entry.get("timings"), dict) else {}
    waited = {name: max(0.0, _number(timings or {}, name)) for name in ("blocked", "send", "wait", "receive")}
    head = round(sum(waited[name] for name in ("send", "wait")) * MS)
    if isinstance(chunks := entry.get("_chunks"), list) and chunks:
        pieces, times = _cut(body, chunks)
        return _ended(streamed_answer(pieces, times, fields, status, min([head, *times])), entry), Beat.CHUNKS
    if not text and isinstance(events := entry.get("_eventSourceMessages"), list) and events:
        started = ns_of(entry.get("startedDateTime"))
        named = [(_event_name(event), text_in(event, "data", "")) for event in events]
        at = [max(0, round(number_in(event, "time") * 1e9) - started) for event in events]
        return streamed_answer(events_bytes(named), at, fields, status, min([head, *at])), Beat.EVENTS
    end = head + round(waited["receive"] * MS)
    has_times = any(waited.values())
    return _ended(whole_answer(status, fields, body, head, end), entry), Beat.ENDS if has_times else Beat.NONE


def _ended(response: Response, entry: Mapping[str, Any]) -> Response:
    """The answer with the ending that we wrote."""
    ending = entry.get("_ending")
    if not isinstance(ending, str) or ending.upper() not in Ending.__members__:
        return response
    return Response(
        response.status, response.headers, response.body, response.cuts, response.timeline, Ending[ending.upper()]
    )


def _cut(body: bytes, chunks: list[Any]) -> tuple[list[bytes], list[int]]:
    pieces, times, start = list[bytes](), list[int](), 0
    for chunk in chunks:
        match chunk:
            case [int() | float() as at, int() as size] if 0 <= at < 1e12 and size >= 0:
                pieces.append(body[start : start + size])
                times.append(round(at * MS))
                start += size
            case _:
                raise ValueError("'_chunks' is not a list of times and sizes")
    if start != len(body):
        raise ValueError(f"'_chunks' cover {start} of {len(body)} bytes")
    return pieces, times


def _event_name(event: object) -> str | None:
    if not isinstance(event, dict):
        raise ValueError("an event is not an object")
    name = event.get("eventName")
    return name if isinstance(name, str) and name != "message" else None


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    return float(found) if isinstance(found, int | float) and 0 <= found < 1e12 else 0.0


def recognises(source: SourceFile) -> bool:
    """Whether the file begins like an archive."""
    beginning = source.beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    return beginning.startswith(b"{") and b'"log"' in beginning[:4096] and b'"entries"' in beginning


HAR = Format(
    name="har",
    title="HTTP Archive 1.2",
    keeps={
        Part.TIMES: Kept.PARTLY,
        Part.BYTES: Kept.YES,
        Part.REQUEST: Kept.YES,
        Part.HEADERS: Kept.YES,
        Part.ARRIVAL: Kept.YES,
    },
    loses="The times of chunks, unless replayproxy wrote the file (`_chunks`). Content codings: bodies are decoded."
    " Legs of pairs, scopes and match rules.",
    suffix=".har",
    write=write,
    read=read,
    recognises=recognises,
)
