"""What the body of a request says, as far as other programs want to know it: prompt, messages, token ids, limits.

A field that is missing or has another type counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.core.dialects.dialect import objects

GENERATING = ("chat/completions", "completions", "responses", "messages")
"""The ends of the paths that generate text."""


def generates(method: str, path: str) -> bool:
    """Whether requests to this endpoint generate text."""
    return method == "POST" and path.rstrip("/").endswith(tuple(f"/{end}" for end in GENERATING))


def messages_of(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a chat, of `/responses` or of `/messages`, with the system prompt as the first one."""
    found = list(objects(body.get("messages"))) or list(objects(body.get("input")))
    if isinstance(text := body.get("input"), str):
        found = [{"role": "user", "content": text}]
    system = body.get("system") or body.get("instructions")
    return [{"role": "system", "content": system}, *found] if system else found


def text_of_content(content: object) -> str:
    """The text of a message's content: a text, or the texts of its parts."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in objects(content))
    return "\n".join(text for text in texts if isinstance(text, str))


def last_prompt(body: Mapping[str, Any]) -> str | None:
    """The text of the last message of a user, or the prompt of a completion; None where there is none."""
    for message in reversed(messages_of(body)):
        if message.get("role") == "user" and (text := text_of_content(message.get("content"))):
            return text
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


def rendered_prompt(body: Mapping[str, Any]) -> str:
    """All that the model reads, as one text in its order: equal beginnings of two prompts are equal here too."""
    return "".join(_rendered(body))


def _rendered(body: Mapping[str, Any]) -> Iterator[str]:
    if tools := body.get("tools"):
        yield json.dumps(tools, sort_keys=True, ensure_ascii=False)
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        yield prompt
    elif prompt is not None:
        yield json.dumps(prompt, ensure_ascii=False)
    for message in messages_of(body):
        yield f"\n<{message.get('role', '')}>\n"
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif content is not None:
            yield json.dumps(content, sort_keys=True, ensure_ascii=False)
        if calls := message.get("tool_calls"):
            yield json.dumps(calls, sort_keys=True, ensure_ascii=False)


def prompt_ids(body: Mapping[str, Any]) -> list[int] | None:
    """The token ids that were sent as the prompt of a completion, or None."""
    return token_ids(body.get("prompt"))


def token_ids(value: object) -> list[int] | None:
    """A list of token ids, or None if it is anything else."""
    if isinstance(value, list) and value and all(type(item) is int and 0 <= item < 1 << 31 for item in value):
        return value
    return None
