"""Cassettes of reel-vcr 0.1, in JSON lines: parsed bodies, and events with whole milliseconds.

`{"schema_version": 1, "ts", "request": {method, path, body}, "response": {status, headers, body | stream_chunks:
[{data, t_offset_ms, event}]}}`; the first line may be `{"_meta": …}`. Times count from the head of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.formats.bodies import (
    JSON_FIELDS,
    bytes_of_base64,
    events_bytes,
    fields_of,
    is_method,
    json_bytes,
    located,
    ns_of,
    number_in,
    object_in,
    status_in,
    streamed_answer,
    target_of,
    text_in,
    whole_answer,
    without_framing,
)
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange, Request


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the entries, in their order: those of one second keep it by a microsecond each."""
    for number, value in source.json_lines():
        if "_meta" in value and "request" not in value:
            continue
        with located(source.error, f"line {number}"):
            yield _exchange(value, number)


def _exchange(value: Mapping[str, Any], number: int) -> ImportedExchange:
    sent, answer = object_in(value, "request"), object_in(value, "response")
    method = text_in(sent, "method")
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    body = _bytes(sent.get("body"))
    request = Request(method, target_of(text_in(sent, "path")), JSON_FIELDS if body else (), body)
    status, fields = status_in(answer, "status"), without_framing(fields_of(answer.get("headers")))
    at = ns_of(value.get("ts")) + number * 1000
    events = answer.get("stream_chunks")
    if not isinstance(events, list):
        return ImportedExchange(
            Exchange(request, whole_answer(status, fields, _bytes(answer.get("body"))), at), Beat.NONE
        )
    if not all(isinstance(event, dict) for event in events):
        raise ValueError("an event is not an object")
    named = [
        (event.get("event") if isinstance(event.get("event"), str) else None, _data(event.get("data")))
        for event in events
    ]
    times = [round(number_in(event, "t_offset_ms") * 1e6) for event in events]
    response = streamed_answer(events_bytes(named), times, fields, status)
    return ImportedExchange(Exchange(request, response, at), Beat.EVENTS)


def _data(value: object) -> str:
    return value if isinstance(value, str) else json_bytes(value).decode()


def _bytes(value: object) -> bytes:
    match value:
        case None:
            return b""
        case str():
            return value.encode("utf-8", "surrogatepass")
        case {"__reel_raw_base64__": text}:
            return bytes_of_base64(text)
    return json_bytes(value)


def recognises(source: SourceFile) -> bool:
    """Whether the first line is an entry, or the settings of one."""
    value = source.first_value
    if not isinstance(value, dict):
        return False
    return ("schema_version" in value and "request" in value and "provider" in value) or set(value) == {"_meta"}


REEL_VCR = Format(
    name="reel-vcr",
    title="reel-vcr 0.1",
    keeps={
        Part.TIMES: Kept.PARTLY,
        Part.BYTES: Kept.PARTLY,
        Part.REQUEST: Kept.PARTLY,
        Part.HEADERS: Kept.PARTLY,
        Part.ARRIVAL: Kept.PARTLY,
    },
    loses="The text of JSON (only its values), comments and ids of events, header fields of requests, and the"
    " time to the first byte. Times are whole ms, arrivals whole seconds.",
    suffix=".jsonl",
    read=read,
    recognises=recognises,
)
