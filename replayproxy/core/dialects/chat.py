"""OpenAI's `/chat/completions`. Streams end with `[DONE]`."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import (
    DONE,
    Dialect,
    Json,
    choices_finish,
    nested,
    objects,
    prompt_usage,
    strings,
)


def _text(value: Json) -> list[str]:
    parts: list[str] = []
    for choice in objects(value.get("choices")):
        message = choice.get("delta") or choice.get("message")
        if isinstance(message, dict):
            # vLLM sends the reasoning under its old and its new name: the same text twice.
            parts += strings(message.get("reasoning") or message.get("reasoning_content"), message.get("content"))
            parts += _tool_calls(message)
    return parts


def _tool_calls(message: Json) -> list[str]:
    """Return names and arguments."""
    functions = (nested(call, "function") for call in objects(message.get("tool_calls")))
    return [text for function in functions for text in strings(function.get("name"), function.get("arguments"))]


CHAT = Dialect("chat", ("chat", "completions"), DONE, _text, prompt_usage, choices_finish)
