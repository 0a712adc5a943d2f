"""The chat dialect: content, reasoning and tool calls of messages and deltas."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.dialects.chat import CHAT

MESSAGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "content": ({"content": "a"}, ["a"]),
    "reasoning under both names": (
        {"reasoning": "r", "reasoning_content": "r", "content": "a"},
        ["r", "a"],
    ),
    "the old name alone": ({"reasoning_content": "r"}, ["r"]),
    "tool calls": (
        {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}, {"function": {"arguments": "}"}}, {}, 1]},
        ["f", "{", "}"],
    ),
    "other types": ({"content": 1, "tool_calls": {"function": 1}}, []),
}


@pytest.mark.parametrize("name", ["delta", "message"])
@pytest.mark.parametrize(("message", "text"), MESSAGES.values(), ids=MESSAGES)
def test_text(name: str, message: dict[str, Any], text: list[str]) -> None:
    """A delta of a stream and a message of a body are read alike."""
    assert CHAT.text({"choices": [{name: message}, None, {name: "x"}]}) == text
