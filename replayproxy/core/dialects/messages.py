"""Anthropic's `/messages`. Streams end with `message_stop`; vLLM sends `[DONE]` after it, which is not the end."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import Dialect, Json, StreamEndRule, Usage, count, nested, objects, strings


def _text(value: Json) -> list[str]:
    parts: list[str] = []
    if value.get("type") == "content_block_delta":
        delta = nested(value, "delta")
        # `partial_json`: the arguments of a tool call.
        parts += strings(delta.get("text"), delta.get("thinking"), delta.get("partial_json"))
    for part in objects(value.get("content")):
        parts += strings(part.get("text"))
    return parts


def _usage(value: Json) -> Usage:
    usage = nested(value, "usage") or nested(nested(value, "message"), "usage")
    return Usage(
        count(usage.get("input_tokens")),
        count(usage.get("output_tokens")),
        count(usage.get("cache_read_input_tokens")),
    )


def _finish(value: Json) -> str | None:
    reasons = strings(nested(value, "delta").get("stop_reason"), value.get("stop_reason"))
    return reasons[0] if reasons else None


MESSAGES = Dialect(
    "messages",
    ("messages",),
    StreamEndRule("message_stop", ("message_stop",)),
    _text,
    _usage,
    _finish,
    frozenset({"usage", "message"}),
)
