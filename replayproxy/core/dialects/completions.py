"""OpenAI's `/completions`. Streams end with `[DONE]`."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import DONE, Dialect, Json, choices_finish, objects, prompt_usage, strings


def _text(value: Json) -> list[str]:
    return [text for choice in objects(value.get("choices")) for text in strings(choice.get("text"))]


COMPLETIONS = Dialect("completions", ("completions",), DONE, _text, prompt_usage, choices_finish)
