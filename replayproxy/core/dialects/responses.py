"""OpenAI's `/responses`. Streams end with an event that repeats the whole answer."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import Dialect, Json, StreamEndRule, Usage, count, nested, objects, strings


def _text(value: Json) -> list[str]:
    # The deltas of text, reasoning, refusal and tool arguments each have a type of their own with this ending.
    parts = strings(value.get("delta")) if str(value.get("type", "")).endswith(".delta") else []
    for item in objects(value.get("output")):
        for part in objects(item.get("content")):
            parts += strings(part.get("text"))
    return parts


def _usage(value: Json) -> Usage:
    usage = nested(value, "usage") or nested(nested(value, "response"), "usage")
    details = nested(usage, "input_tokens_details")
    return Usage(
        count(usage.get("input_tokens")), count(usage.get("output_tokens")), count(details.get("cached_tokens"))
    )


def _finish(value: Json) -> str | None:
    response = value.get("response", value)
    if isinstance(response, dict) and response.get("object") == "response" and isinstance(response.get("status"), str):
        return str(response["status"])
    return None


RESPONSES = Dialect(
    "responses",
    ("responses",),
    StreamEndRule("response.completed", ("response.completed", "response.failed", "response.incomplete"), done=True),
    _text,
    _usage,
    _finish,
    frozenset({"usage", "response"}),
)
