"""Tests of `simulator/tools`: tools and `tool_choice` in all forms."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.generation import Tool, ToolChoice
from replayproxy.simulator.routes import ApiError
from replayproxy.simulator.tools import anthropic_tool_choice, anthropic_tools, chat_tool_choice, chat_tools

LOOK = Tool("look", {"type": "object"})


def test_tools_are_read_in_three_forms() -> None:
    """Nested, flat, and Anthropic's."""
    nested = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    flat = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    assert chat_tools({"tools": [nested, flat, {"type": "web_search"}]}) == (LOOK, LOOK)
    assert anthropic_tools({"tools": [{"name": "look", "input_schema": {"type": "object"}}]}) == (LOOK,)
    assert chat_tools({"tools": None}) == ()
    with pytest.raises(ApiError, match="a tool has no name"):
        chat_tools({"tools": [{"type": "function", "function": {}}]})


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "look"}}, ToolChoice("named", "look")),
        ({"type": "function", "name": "look"}, ToolChoice("named", "look")),
        ({"type": "allowed_tools", "mode": "required"}, ToolChoice("required")),
    ],
)
def test_tool_choice(choice: Any, expected: ToolChoice) -> None:
    """Words, and the name of a function."""
    assert chat_tool_choice({"tool_choice": choice}, (LOOK,)) == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice("auto")),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "tool", "name": "look"}, ToolChoice("named", "look")),
    ],
)
def test_tool_choice_of_messages(choice: Any, expected: ToolChoice) -> None:
    """Anthropic's words."""
    assert anthropic_tool_choice({"tool_choice": choice}, (LOOK,)) == expected


@pytest.mark.parametrize(
    ("choice", "tools", "message"),
    [
        ("sometimes", (LOOK,), "Invalid value for `tool_choice`: sometimes!"),
        ("required", (), "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)"),
        ({"function": {"name": "x"}}, (LOOK,), "does not match any of the specified `tools`"),
        ({"function": {}}, (LOOK,), "Expected field `name`"),
        (7, (LOOK,), "Invalid value for `tool_choice`."),
    ],
)
def test_a_choice_that_cannot_be(choice: Any, tools: tuple[Tool, ...], message: str) -> None:
    """In vLLM's words."""
    with pytest.raises(ApiError) as caught:
        chat_tool_choice({"tool_choice": choice}, tools)
    assert message in caught.value.message
    with pytest.raises(ApiError, match="tool_choice of type 'x'"):
        anthropic_tool_choice({"tool_choice": {"type": "x"}}, tools)


def test_without_tools_nothing_is_called() -> None:
    """Whatever the default."""
    assert chat_tool_choice({}, ()) == ToolChoice("none")
    assert anthropic_tool_choice({}, ()) == ToolChoice("none")
