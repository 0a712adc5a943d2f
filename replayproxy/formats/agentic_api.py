"""Cassettes of vllm-project/agentic-api, in YAML: turns with a parsed request and the lines or frames of an event
stream.

`turns: [{request: {method, path, query_params, body, headers}, response: {status_code, headers, body | sse: […]}}]`
(crates/agentic-core/tests/cassettes). WebSocket turns are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from replayproxy.formats.bodies import (
    JSON_FIELDS,
    STREAM_FIELDS,
    fields_of,
    is_method,
    json_bytes,
    located,
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
from replayproxy.formats.yaml_source import load_yaml
from replayproxy.model import End, Ending, Exchange, Head, Request, Response

WEBSOCKET = "a turn over a WebSocket"


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the turns, in their order."""
    document = load_yaml(source)
    turns = document.get("turns") if isinstance(document, dict) else None
    if not isinstance(turns, list):
        raise source.error("there are no turns in it")
    for number, turn in enumerate(turns):
        with located(source.error, f"turn {number + 1}"):
            if not isinstance(turn, dict):
                raise ValueError("it is not an object")
            sent = object_in(turn, "request")
            if sent.get("method") == "WEBSOCKET":
                notes.skipped[WEBSOCKET] += 1
                continue
            request, response = _request(sent), _response(object_in(turn, "response"))
            yield ImportedExchange(Exchange(request, response, source.modified_at + number * 1000), Beat.NONE)


def _request(value: Mapping[str, Any]) -> Request:
    method, target = text_in(value, "method", "POST"), target_of(text_in(value, "path"))
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    if isinstance(query := value.get("query_params"), dict) and query:
        target += "?" + urlencode({str(name): str(each) for name, each in query.items()})
    body = value.get("body")
    fields = fields_of(value.get("headers")) or JSON_FIELDS
    return Request(method, target, without_framing(fields), b"" if body is None else _bytes(body))


def _response(value: Mapping[str, Any]) -> Response:
    status = status_in(value, "status_code", 200)
    pieces = value.get("sse")
    if isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces):
        fields = without_framing(fields_of(value.get("headers"))) or STREAM_FIELDS
        frames = _frames(pieces)
        response = streamed_answer(frames, [0] * len(frames), fields, status)
        if value.get("stream_error"):
            head = Head(0, status, fields)
            return Response.of(head, response.chunks(), End(0, Ending.UPSTREAM_CUT))
        return response
    fields = without_framing(fields_of(value.get("headers"))) or JSON_FIELDS
    body = value.get("body")
    return whole_answer(status, fields, b"" if body is None else _bytes(body))


def _frames(pieces: list[str]) -> list[bytes]:
    """The events: some files have a line per item, blank ones too, and others a whole event."""
    frames, held = list[bytes](), b""
    for piece in pieces:
        held += piece.encode() if piece.endswith("\n") else piece.encode() + b"\n"
        if held.endswith(b"\n\n") or held == b"\n":
            frames.append(held)
            held = b""
    return [*frames, held] if held else frames


def _bytes(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json_bytes(body)


def recognises(source: SourceFile) -> bool:
    """Whether the file begins like such a cassette."""
    return source.beginning.lstrip().startswith(b"turns:") and b"request:" in source.beginning


AGENTIC_API = Format(
    name="agentic-api",
    title="cassettes of vllm-project/agentic-api",
    keeps={Part.BYTES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY, Part.HEADERS: Kept.PARTLY, Part.SESSION: Kept.PARTLY},
    loses="Times, the chunks of a stream (each event is one), the text of request bodies (only their values),"
    " most header fields.",
    suffix=".yaml",
    read=read,
    recognises=recognises,
)
