"""Payload records of Dynamo's request trace: `DYN_REQUEST_TRACE_RECORDS=request_end,request_payload`.

One JSON object per line, bare or under `event`: `{"schema": "dynamo.request.trace.v1", "event_type":
"request_payload", "payload": {request_id, endpoint, requested_streaming, request, response}}`
(docs.nvidia.com/dynamo, Request Trace Reference). A `request_end` of the same id says when the answer began and
ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.formats.bodies import CHAT, COMPLETIONS, RESPONSES, located, number_in, object_in
from replayproxy.formats.chat_answers import chat_exchange, chat_request
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile

SCHEMA = "dynamo.request.trace"

TARGETS = {"openai.chat_completion": CHAT, "openai.completion": COMPLETIONS, "openai.response": RESPONSES}

INCOMPLETE = "a payload without request or response"

MOST_REMEMBERED = 1_000_000
"""Requests whose times are remembered: 200 MB."""


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the payloads; the file is read twice, for the times may stand anywhere."""
    ends: dict[str, Mapping[str, Any]] = {}
    for _, line in source.json_lines():
        record = _record(line)
        request = record.get("request") if record.get("event_type") == "request_end" else None
        if isinstance(request, dict) and len(ends) < MOST_REMEMBERED:
            ends[str(request.get("request_id"))] = request
    for number, line in source.json_lines():
        record = _record(line)
        if record.get("event_type") != "request_payload":
            continue
        with located(source.error, f"line {number}"):
            payload = object_in(record, "payload")
            if not isinstance(payload.get("request"), dict) or not isinstance(payload.get("response"), dict):
                notes.skipped[INCOMPLETE] += 1
                continue
            yield _exchange(record, payload, ends.get(str(payload.get("request_id"))))


def _record(line: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = line.get("event")
    return inner if isinstance(inner, dict) else line


def _exchange(record: Mapping[str, Any], payload: Mapping[str, Any], end: Mapping[str, Any] | None) -> ImportedExchange:
    body = dict(payload["request"])
    if payload.get("requested_streaming") is True:
        body["stream"] = True  # Dynamo's own copy of a request may be without it
    request = chat_request(body, TARGETS.get(str(payload.get("endpoint")), CHAT))
    if end is None:
        at = round(number_in(record, "event_time_unix_ms") * 1e6)
        return ImportedExchange(chat_exchange(request, payload["response"], at), Beat.NONE)
    at = round(number_in(end, "request_received_ms") * 1e6)
    total, first = (round(number_in(end, name) * 1e6) for name in ("total_time_ms", "ttft_ms"))
    exchange = chat_exchange(request, payload["response"], at, first=min(first or total, total), end=total)
    return ImportedExchange(exchange, Beat.ENDS if total else Beat.NONE)


def recognises(source: SourceFile) -> bool:
    """Whether the first line is a record of such a trace."""
    value = source.first_value
    return isinstance(value, dict) and str(_record(value).get("schema", "")).startswith(SCHEMA)


DYNAMO = Format(
    name="dynamo",
    title="payload records of Dynamo's request trace",
    keeps={Part.TIMES: Kept.PARTLY, Part.BYTES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY, Part.ARRIVAL: Kept.YES},
    loses="Bytes, events and chunks of streams (their answers are made anew), header fields, errors, statuses.",
    suffix=".jsonl",
    read=read,
    recognises=recognises,
)
