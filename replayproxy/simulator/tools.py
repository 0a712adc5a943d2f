"""Read tools and what of them may be called, in the forms of chat, responses and messages. Raises `ApiError` 400."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replayproxy.simulator.generation import Tool, ToolChoice
from replayproxy.simulator.routes import ApiError


def chat_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """`tools` of a chat request: functions, nested or flat."""
    found: list[Tool] = []
    for entry in _list(body.get("tools")):
        function = entry.get("function") if isinstance(entry.get("function"), dict) else entry
        if isinstance(function, dict) and entry.get("type", "function") in ("function", "custom"):
            found.append(_tool(function, "parameters"))
    return tuple(found)


def anthropic_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """`tools` of a messages request."""
    return tuple(_tool(entry, "input_schema") for entry in _list(body.get("tools")))


def chat_tool_choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> ToolChoice:
    """`tool_choice` of a chat or responses request: a word, or a function's name, nested or flat."""
    choice = body.get("tool_choice")
    if choice is None:
        return ToolChoice("auto" if tools else "none")
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            message = f"Invalid value for `tool_choice`: {choice}! Give a named tool, none, auto or required."
            raise ApiError(400, message, param="tool_choice")
        if choice == "required" and not tools:
            raise ApiError(
                400, "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)", param="tool_choice"
            )
        return ToolChoice(choice)
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return ToolChoice("required" if choice.get("mode") == "required" else "auto")
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        return _named(name, tools)
    raise ApiError(400, "Invalid value for `tool_choice`.", param="tool_choice")


def anthropic_tool_choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> ToolChoice:
    """`tool_choice` of a messages request."""
    choice = body.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    match kind := choice.get("type"):
        case None | "auto":
            return ToolChoice("auto" if tools else "none")
        case "any":
            return ToolChoice("required")
        case "none":
            return ToolChoice()
        case "tool":
            return _named(choice.get("name"), tools)
    raise ApiError(400, f"tool_choice of type {kind!r} is not one of auto, any, tool and none", param="tool_choice")


def _named(name: Any, tools: tuple[Tool, ...]) -> ToolChoice:
    if not tools:
        raise ApiError(
            400, "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)", param="tool_choice"
        )
    if not isinstance(name, str) or not name:
        raise ApiError(400, "Expected field `name` in `function` in `tool_choice`!", param="tool_choice")
    if all(tool.name != name for tool in tools):
        message = (
            "The tool specified in `tool_choice` does not match any of the specified `tools` (parameter=tool_choice)"
        )
        raise ApiError(400, message, param="tool_choice")
    return ToolChoice("named", name)


def _tool(function: Mapping[str, Any], schema: str) -> Tool:
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "a tool has no name", param="tools")
    parameters = function.get(schema)
    return Tool(name, parameters if isinstance(parameters, dict) else {})


def _list(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
