"""Cassettes of VCR.py, in YAML or JSON; pytest-recording, cassetter and pytest-vcr write the same.

`{version: 1, interactions: [{request: {method, uri, body, headers}, response: {status, headers, body: {string}}}]}`.
They have no times, and a stream is one body. Whether bodies were decoded is up to the settings with which they were
recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.core import coding
from replayproxy.core.coding_layers import DecodedState
from replayproxy.core.headers import without
from replayproxy.formats.bodies import (
    bytes_of_base64,
    fields_of,
    is_method,
    json_bytes,
    located,
    object_in,
    status_in,
    target_of,
    text_in,
    whole_answer,
)
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile
from replayproxy.formats.yaml_source import load_yaml
from replayproxy.model import Exchange, Headers, Request, Response


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the interactions, in their order."""
    is_json = source.beginning.lstrip().startswith(b"{")
    document = source.document() if is_json else load_yaml(source)
    if isinstance(document, list):
        raise source.error("it is of a version of VCR.py before 1.0: record it again")
    interactions = document.get("interactions") if isinstance(document, dict) else None
    if not isinstance(interactions, list):
        raise source.error("there are no interactions in it")
    for number, interaction in enumerate(interactions):
        with located(source.error, f"interaction {number + 1}"):
            if not isinstance(interaction, dict):
                raise ValueError("it is not an object")
            request = _request(object_in(interaction, "request"))
            response = _response(object_in(interaction, "response"))
            yield ImportedExchange(Exchange(request, response, source.modified_at + number * 1000), Beat.NONE)


def _request(value: Mapping[str, Any]) -> Request:
    method = text_in(value, "method")
    if not is_method(method):
        raise ValueError(f"{method[:80]!r} is not a method")
    fields = fields_of(value.get("headers"))
    return Request(method, target_of(text_in(value, "uri")), fields, _body(value.get("body")))


def _response(value: Mapping[str, Any]) -> Response:
    status = value.get("status")
    code = status_in(status, "code") if isinstance(status, dict) else status_in(value, "status_code")
    body = _body(value["body"] if "body" in value else value.get("content"))
    fields = without(fields_of(value.get("headers")), "transfer-encoding", "content-length", "connection")
    return whole_answer(code, _honest(fields, body), body)


def _honest(fields: Headers, body: bytes) -> Headers:
    """The fields without a coding that the body does not have: some clients decode it before VCR.py sees it."""
    if coding.is_coded(fields) and coding.undone(fields, body)[1] is DecodedState.BROKEN:
        return without(fields, "content-encoding")
    return fields


def _body(value: object) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogatepass")
        case {"string": inner}:
            return _body(inner)
        case {"base64_string": inner}:
            return bytes_of_base64(inner)
        case dict() | list():  # some serializers write a JSON body as values
            return json_bytes(value)
    raise ValueError("a body is neither text nor bytes")


def recognises(source: SourceFile) -> bool:
    """Whether the file begins like a cassette of VCR.py."""
    beginning = source.beginning.lstrip()
    if beginning.startswith(b"{"):
        return b'"interactions"' in beginning and b'"uri"' in beginning
    return beginning.startswith((b"interactions:", b"version: 1")) and b"uri:" in beginning


VCR = Format(
    name="vcr",
    title="VCR.py, pytest-recording",
    keeps={Part.BYTES: Kept.YES, Part.REQUEST: Kept.YES, Part.HEADERS: Kept.YES},
    loses="Chunks, endings, and when anything was recorded: the time of the file stands for it.",
    suffix=".yaml",
    read=read,
    recognises=recognises,
)
