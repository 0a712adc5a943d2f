"""Tests of `simulator/responses`: what is read of a request, and which fields the answer repeats."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.simulator.generation import TextSettings
from tests.doubles.simulation import Answered, ask

PATH = "/v1/responses"
ECHO = TextSettings(mode="echo")
KEYS = [
    "id", "created_at", "incomplete_details", "instructions", "metadata", "model", "object", "output",
    "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background", "max_output_tokens",
    "max_tool_calls", "previous_response_id", "prompt", "reasoning", "service_tier", "status", "text", "top_logprobs",
    "truncation", "usage", "user", "presence_penalty", "frequency_penalty", "kv_transfer_params", "ec_transfer_params",
    "input_messages", "output_messages",
]  # fmt: skip
"""As recorded from vLLM 0.32."""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": True}


def told(input: Any = "One two.", text: TextSettings = ECHO, **more: Any) -> Answered:
    """The answer to a request."""
    return ask(PATH, {"model": "tiny", "input": input, **more}, text=text)


def test_an_answer_has_the_keys_of_vllm() -> None:
    """In its order; the output is one message."""
    answer = told(temperature=0, instructions="Be kind.").json
    assert list(answer) == KEYS
    (message,) = answer["output"]
    assert list(message) == ["id", "content", "role", "status", "type", "phase"]
    assert message["content"] == [{"annotations": [], "text": "One two.", "type": "output_text", "logprobs": None}]
    assert (answer["status"], answer["temperature"], answer["instructions"]) == ("completed", 0.0, "Be kind.")
    assert answer["usage"]["output_tokens"] == 4
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + 4


def test_an_answer_that_is_cut_says_so() -> None:
    """It is incomplete."""
    answer = told(max_output_tokens=2).json
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


@pytest.mark.parametrize(
    ("input", "text"),
    [
        ("One", "One"),
        ([{"role": "user", "content": "One"}], "One"),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One"}]}], "One"),
        (
            [
                {"role": "user", "content": "One"},
                {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "sunny"},
            ],
            "One",
        ),
    ],
)
def test_input_has_several_forms(input: Any, text: str) -> None:
    """A text, messages, calls and their outputs."""
    assert told(input).json["output"][0]["content"][0]["text"] == text


def test_tools_are_called_and_repeated() -> None:
    """With the null keys that vLLM adds."""
    answer = told(tools=[TOOL], tool_choice="required").json
    (call,) = answer["output"]
    assert (call["type"], call["name"], orjson.loads(call["arguments"])) == ("function_call", "look", {})
    assert (answer["tool_choice"], answer["tools"][0]["strict"]) == ("required", True)
    named = told(tools=[TOOL], tool_choice={"type": "function", "name": "look"}).json
    assert named["tool_choice"] == {"name": "look", "type": "function"}


def test_a_schema_is_followed() -> None:
    """By `text.format`."""
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    format = {"type": "json_schema", "name": "x", "schema": schema}
    answer = told(text=ECHO).json
    assert answer["text"] is None
    body = {"model": "tiny", "input": "x", "text": {"format": format}}
    assert orjson.loads(ask(PATH, body).json["output"][0]["content"][0]["text"]) == {"a": 1}


def test_effort_none_turns_reasoning_off() -> None:
    """Else it is an item of its own."""
    text = TextSettings(mode="echo", reasoning_tokens=3)
    assert [item["type"] for item in told(text=text).json["output"]] == ["reasoning", "message"]
    assert [item["type"] for item in told(text=text, reasoning={"effort": "none"}).json["output"]] == ["message"]


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"model": "nobody"}, 404, "The model `nobody` does not exist. Valid aliases: tiny."),
        ({"input": []}, 400, "input must not be empty (parameter=input)"),
        ({"max_output_tokens": 0}, 400, "max_output_tokens must be at least 1, got 0."),
    ],
)
def test_what_is_refused(more: dict[str, Any], status: int, message: str) -> None:
    """In OpenAI's envelope."""
    found = told(**more).error
    assert found[0] == status
    assert found[1].startswith(message)
