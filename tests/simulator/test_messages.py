"""Tests of `simulator/messages`: Anthropic's events and bodies, as vLLM 0.32 sends them."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.generation import TextSettings
from tests.doubles.simulation import Answered, ask

PATH = "/v1/messages"
ECHO = TextSettings(mode="echo")
TOOL = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"]},
}


def told(content: Any = "One two.", text: TextSettings = ECHO, counts_cached: bool = False, **more: Any) -> Answered:
    """The answer to a request."""
    body = {"model": "tiny", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}
    return ask(PATH, body, text=text, counts_cached=counts_cached)


def test_a_stream_has_the_events_of_vllm() -> None:
    """In its order, with a name and a type each."""
    answer = told(stream=True)
    assert answer.names == [
        "message_start", "content_block_start", *["content_block_delta"] * 3, "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    start, block, first, *_, stop, delta, end = answer.events
    assert list(start["message"]) == [
        "id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage",
    ]  # fmt: skip
    assert block == {"type": "content_block_start", "content_block": {"type": "text", "text": ""}, "index": 0}
    assert first == {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "One"}, "index": 0}
    assert stop == {"type": "content_block_stop", "index": 0}
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert delta["usage"] == {"input_tokens": start["message"]["usage"]["input_tokens"], "output_tokens": 4}
    assert end == {"type": "message_stop"}


def test_a_whole_answer() -> None:
    """Keys without a value are left out."""
    answer = told().json
    assert list(answer) == ["id", "type", "role", "content", "model", "stop_reason", "usage"]
    assert answer["content"] == [{"type": "text", "text": "One two."}]


@pytest.mark.parametrize(
    ("more", "reason", "stop"),
    [
        ({"max_tokens": 2}, "max_tokens", None),
        ({"stop_sequences": [" two"]}, "stop_sequence", " two"),
        ({}, "end_turn", None),
    ],
)
def test_why_it_stopped(more: dict[str, Any], reason: str, stop: str | None) -> None:
    """In both forms."""
    assert (told(**more).json["stop_reason"], told(**more).json.get("stop_sequence")) == (reason, stop)
    assert told(stream=True, **more).events[-2]["delta"] == {"stop_reason": reason, "stop_sequence": stop}


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_is_used(choice: dict[str, str]) -> None:
    """Its input is an object, and in a stream the parts of its JSON."""
    answer = told(tools=[TOOL], tool_choice=choice)
    (block,) = answer.json["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "get_weather", {"city": "Rome"})
    assert answer.json["stop_reason"] == "tool_use"
    events = told(tools=[TOOL], tool_choice=choice, stream=True).events
    assert events[1]["content_block"] | {"id": ""} == {"type": "tool_use", "id": "", "name": "get_weather", "input": {}}
    assert "".join(event["delta"]["partial_json"] for event in events[2:-3]) == '{"city":"Rome"}'


def test_thinking_is_a_block_with_a_signature() -> None:
    """Before the text; a request may turn it off."""
    text = TextSettings(mode="echo", reasoning_tokens=3)
    thinking, said = told(text=text).json["content"]
    assert (thinking["type"], len(thinking["signature"]), said["type"]) == ("thinking", 32, "text")
    events = told(text=text, stream=True).events
    kinds = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]
    assert kinds == [*["thinking_delta"] * 3, "signature_delta", *["text_delta"] * 3]
    assert [block["type"] for block in told(text=text, thinking={"type": "disabled"}).json["content"]] == ["text"]


def test_cached_tokens_are_counted_apart() -> None:
    """Where they are counted."""
    usage = told(counts_cached=True).json["usage"]
    assert list(usage) == [
        "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    ]  # fmt: skip


def test_a_conversation_with_tools_is_read() -> None:
    """System, blocks, calls and results all become prompt."""
    blocks = [
        {"type": "text", "text": "One"},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "two"}]},
    ]
    assert told(blocks, system=[{"type": "text", "text": "Be kind."}]).json["content"][0]["text"] == "One\ntwo"


@pytest.mark.parametrize(
    ("more", "status", "document"),
    [
        (
            {"model": "nobody"},
            404,
            {
                "type": "error",
                "error": {
                    "type": "NotFoundError", "message": "The model `nobody` does not exist. Valid aliases: tiny.",
                },
            },
        ),
        (
            {"messages": []},
            400,
            {"type": "error", "error": {"type": "BadRequestError", "message": "messages must not be empty"}},
        ),
    ],
)  # fmt: skip
def test_errors_have_anthropics_envelope(more: dict[str, Any], status: int, document: object) -> None:
    """Except where the body itself is not as it must be."""
    answer = told(**more)
    assert (answer.status, answer.json) == (status, document)
    missing = ask(PATH, {"model": "tiny", "messages": [{"role": "user", "content": "x"}]})
    assert missing.error[1].startswith("1 validation error:")
    assert "body.max_tokens" in missing.error[1]


def test_tokens_are_counted() -> None:
    """As many as the answer's usage has."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "One two."}]}
    counted = ask(f"{PATH}/count_tokens", body).json
    assert counted == {"input_tokens": told().json["usage"]["input_tokens"]}
