"""A conversation as the prompt of a model: its text, its tokens, and what echo mode repeats of it.

The template is one of our own. It has what a cache of prefixes needs: a longer conversation begins as the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from replayproxy.simulator.generation import Tool
from replayproxy.simulator.reading import text_of_content


class Message(NamedTuple):
    """One message, whatever its dialect."""

    role: str
    text: str


def prompt_text(messages: Sequence[Message], tools: Sequence[Tool] = (), *, generates: bool = True) -> str:
    """The prompt. `generates`: it ends where the model is to go on."""
    described = "".join([f"{tool.name} {orjson.dumps(tool.parameters).decode()}\n" for tool in tools])
    lines = [f"<|tools|>\n{described}"] if described else []
    lines += [f"<|{message.role}|>\n{message.text}\n" for message in messages]
    return "".join(lines) + ("<|assistant|>\n" if generates else "")


def echoed(messages: Sequence[Message]) -> str:
    """What echo mode repeats: the last message of the user, or the last one of all where there is none of the user."""
    candidates = [message for message in messages if message.role == "user"] or messages
    return candidates[-1].text if candidates else ""


def chat_messages(value: Any) -> list[Message]:
    """The messages of a chat request, tool calls and results among them."""
    found: list[Message] = []
    for message in value if isinstance(value, list) else []:
        if not isinstance(message, dict):
            continue
        text = text_of_content(message.get("content"))
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                text += f"[{function.get('name')}({function.get('arguments')})]"
        found.append(Message(str(message.get("role", "user")), text))
    return found
