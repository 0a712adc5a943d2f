"""Spans of OpenTelemetry by the GenAI convention, as OTLP in JSON: for collectors and observability back ends.

One object per line, as the file exporter of the OpenTelemetry Collector writes them; each has one span, a CLIENT's.
The convention is in development: each line names the state of it that was followed. It has no place for chunks; each
is an event `replayproxy.chunk` of its span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, BinaryIO

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import facts_of, parsed
from replayproxy.core.dialects.folding import folded
from replayproxy.formats.format import ExportContext, Format, Kept, Part, StoredExchange
from replayproxy.formats.request import generates
from replayproxy.formats.workload import Sessions
from replayproxy.views.conversation import ChatMessage, MessagePart, answer_messages, request_messages

CONVENTION = "open-telemetry/semantic-conventions-genai@024a4f9"
"""The state of the convention that is written here (docs/gen-ai/client-inference.md, status: development)."""

NOT_GENERATING = "a request that generates nothing"

OPERATIONS = {
    "chat/completions": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
}

REQUEST_ATTRIBUTES = {
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "temperature": "gen_ai.request.temperature",
    "top_k": "gen_ai.request.top_k",
    "top_p": "gen_ai.request.top_p",
    "n": "gen_ai.request.choice.count",
}
"""Fields of a request's body, and what the convention calls them."""


def write(recordings: Iterable[StoredExchange], out: BinaryIO, context: ExportContext) -> None:
    """Write one line per request that generates text."""
    sessions = Sessions()
    for stored in recordings:
        if not generates(stored.row["method"], stored.row["path"]):
            context.notes.skipped[NOT_GENERATING] += 1
            continue
        span = _span(stored, sessions)
        resource = {
            "attributes": _attributes(
                {
                    "service.name": "replayproxy",
                    "replayproxy.cassette": context.name,
                    "replayproxy.genai_convention": CONVENTION,
                }
            )
        }
        scope = {"name": "replayproxy", "version": context.version}
        scopes = [{"scope": scope, "spans": [span]}]
        out.write(orjson.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}) + b"\n")


def _span(stored: StoredExchange, sessions: Sessions) -> dict[str, Any]:
    row, exchange = stored
    response, start = exchange.response, exchange.recorded_at
    body, answer = parsed(body_of(exchange.request)), folded(row["path"], exchange.response) or {}
    session, _, _ = sessions.turn(row["id"], body, exchange)
    operation = next(word for end, word in OPERATIONS.items() if row["path"].rstrip("/").endswith(f"/{end}"))
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "anthropic" if row["path"].endswith("/messages") else "openai",
        "gen_ai.conversation.id": session,
        "gen_ai.request.model": row["model"],
        "gen_ai.request.stream": bool(row["stream"]),
        **{REQUEST_ATTRIBUTES[name]: body[name] for name in REQUEST_ATTRIBUTES if _is_number(body.get(name))},
        "gen_ai.request.stop_sequences": _texts(body.get("stop")),
        "gen_ai.response.id": answer.get("id"),
        "gen_ai.response.model": answer.get("model"),
        "gen_ai.response.finish_reasons": _texts([message.finish for message in answer_messages(response)]),
        "gen_ai.usage.input_tokens": row["prompt_tokens"],
        "gen_ai.usage.output_tokens": row["completion_tokens"],
        "gen_ai.usage.cache_read.input_tokens": row["cached_tokens"],
        "gen_ai.input.messages": _json([_message(message) for message in request_messages(exchange.request)]),
        "gen_ai.output.messages": _json([_message(message) for message in answer_messages(response)]),
        "gen_ai.tool.definitions": _json(body["tools"]) if isinstance(body.get("tools"), list) else None,
        "http.response.status_code": row["status"] or None,
        "error.type": str(row["status"]) if row["status"] >= 400 else _broken(row["ending"]),
        "replayproxy.exchange.id": row["id"],
        "replayproxy.ending": row["ending"],
    }
    first = facts_of(exchange.request, response).first_content
    if first is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = first / 1e9
    failed = attributes["error.type"] is not None
    return {
        "traceId": _id(session, 16),
        "spanId": _id(f"{row['id']} {row['number']}", 8),
        "name": f"{operation} {row['model']}" if row["model"] else operation,
        "kind": 3,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + response.timeline.end),
        "attributes": _attributes(attributes),
        "events": [
            {
                "timeUnixNano": str(start + at),
                "name": "replayproxy.chunk",
                "attributes": _attributes({"replayproxy.chunk.bytes": size}),
            }
            for at, size in zip(response.timeline.chunks, response.cuts, strict=True)
        ],
        "status": {"code": 2} if failed else {},
    }


def _broken(ending: str | None) -> str | None:
    return None if ending == "complete" else ending


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: object) -> list[str] | None:
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [text for text in found if isinstance(text, str) and text] or None


def _message(message: ChatMessage) -> dict[str, Any]:
    """A message as the convention writes it (docs/gen-ai/gen-ai-input-messages.json)."""
    written: dict[str, Any] = {"role": message.role, "parts": [_part(part) for part in message.parts]}
    return written | ({"finish_reason": message.finish} if message.finish else {})


def _part(part: MessagePart) -> dict[str, Any]:
    match part.kind:
        case "text" | "reasoning":
            return {"type": part.kind, "content": part.text}
        case "tool call":
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.text}
        case "tool result":
            return {"type": "tool_call_response", "id": part.id, "response": part.text}
    return {"type": part.kind, "content": part.text, "name": part.name}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _id(text: str, size: int) -> str:
    """An id of a span or trace: the same in every export."""
    return blake2b(text.encode(), digest_size=size).hexdigest()


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes in OTLP's JSON; those without a value are left out."""
    return [{"key": name, "value": _value(value)} for name, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


OTEL = Format(
    name="otel",
    title="OpenTelemetry spans, GenAI convention, OTLP/JSON",
    keeps={
        Part.TIMES: Kept.YES,
        Part.REQUEST: Kept.PARTLY,
        Part.ARRIVAL: Kept.YES,
        Part.SESSION: Kept.YES,
    },
    loses="Bytes: messages are parsed; only known parameters survive. Header fields, legs of pairs.",
    suffix=".otlp.jsonl",
    write=write,
)
