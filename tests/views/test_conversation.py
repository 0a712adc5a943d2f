"""A request and an answer as messages, in each dialect, streamed and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.model import Request, Response, Timeline
from replayproxy.views.conversation import (
    ChatMessage,
    MessagePart,
    answer_messages,
    as_data,
    request_messages,
    request_tools,
)


def request(**body: Any) -> Request:
    """A request with this JSON."""
    return Request("POST", "/v1/any", (), orjson.dumps(body))


def whole(**body: Any) -> Response:
    """An answer in one chunk."""
    content = orjson.dumps(body)
    return Response(200, (("content-type", "application/json"),), content, (len(content),), Timeline(0, (1,), 2))


def stream(*events: Any, cut: int = 7) -> Response:
    """A streamed answer, in chunks of `cut` bytes."""
    content = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    cuts = [min(cut, len(content) - start) for start in range(0, len(content), cut)]
    times = tuple(range(len(cuts)))
    return Response(200, (("content-type", "text/event-stream"),), content, tuple(cuts), Timeline(0, times, 9**9))


def lines(messages: Sequence[ChatMessage]) -> list[str]:
    """`role kind name id: text`, a line per part."""
    return [
        f"{message.role} {' '.join(filter(None, (part.kind, part.name, part.id)))}: {part.text}"
        for message in messages
        for part in message.parts
    ]


CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"city":"Rome"}'}}

REQUESTS = [
    ({"messages": [{"role": "user", "content": "hi"}]}, ["user text: hi"]),
    (
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                    ],
                },
            ]
        },
        [
            "system text: be kind",
            "assistant reasoning: hm",
            'assistant tool call look_up call_1: {"city":"Rome"}',
            "tool tool result call_1: sunny",
            "user text: see",
            "user image image_url: data:image/png;base64, 26 characters",
            "user image image_url: https://a.example/b.png",
        ],
    ),
    ({"prompt": "once"}, ["prompt text: once"]),
    ({"prompt": ["a", "b"]}, ["prompt text: a", "prompt text: b"]),
    ({"prompt": [1, 2, 3]}, ["prompt text 3 token ids: 1 2 3"]),
    (
        {
            "system": [{"type": "text", "text": "s"}],
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]}
                    ],
                },
            ],
        },
        ["system text: s", 'assistant tool call f t1: {"a":1}', "user tool result t1: r"],
    ),
    (
        {
            "instructions": "i",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "think"}]},
                {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
                {"type": "function_call_output", "call_id": "c", "output": "42"},
            ],
        },
        [
            "system text: i",
            "user text: q",
            "assistant reasoning: think",
            "assistant tool call f c: {}",
            "tool tool result c: 42",
        ],
    ),
    ({"input": "q"}, ["user text: q"]),
    ({"model": "m"}, []),
]


@pytest.mark.parametrize(("body", "expected"), REQUESTS)
def test_a_request_is_read_in_each_dialect(body: dict[str, Any], expected: list[str]) -> None:
    """Roles, texts, reasoning, tool calls and results, images."""
    assert lines(request_messages(request(**body))) == expected


def test_the_tools_of_a_request_have_names() -> None:
    """In the form of chat, of Anthropic, and of what a server brings itself."""
    tools = [{"type": "function", "function": {"name": "f"}}, {"name": "g", "input_schema": {}}, {"type": "web_search"}]
    assert [tool.name for tool in request_tools(request(tools=tools))] == ["f", "g", "web_search"]


ANSWERS = [
    (
        whole(choices=[{"index": 0, "message": {"content": "a", "tool_calls": [CALL]}, "finish_reason": "stop"}]),
        ["assistant text: a", 'assistant tool call look_up call_1: {"city":"Rome"}'],
        "stop",
    ),
    (whole(choices=[{"text": "t", "finish_reason": "length"}]), ["assistant text: t"], "length"),
    (
        whole(type="message", role="assistant", content=[{"type": "text", "text": "m"}], stop_reason="end_turn"),
        ["assistant text: m"],
        "end_turn",
    ),
    (
        whole(
            object="response",
            status="completed",
            output=[{"type": "message", "content": [{"type": "output_text", "text": "r"}]}],
        ),
        ["assistant text: r"],
        "completed",
    ),
    (whole(error={"message": "no", "code": 400}), ["error error: no"], ""),
    (
        stream(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"index": 0, "delta": {"reasoning": "I ", "reasoning_content": "I "}}]},
            {"choices": [{"index": 0, "delta": {"reasoning_content": "think"}}]},
            {"choices": [{"index": 0, "delta": {"content": "Hello"}}]},
            {"choices": [{"index": 0, "delta": {"content": " you"}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        ),
        ["assistant text: Hello you", "assistant reasoning: I think", "assistant tool call f c: {}"],
        "tool_calls",
    ),
    (stream({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}), ["assistant text: ab"], ""),
    (
        stream(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
            {
                "type": "content_block_start",
                "index": 2,
                "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            },
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
        ),
        ["assistant reasoning: hm", "assistant text: yes", 'assistant tool call f t: {"a":1}'],
        "tool_use",
    ),
    (
        stream(
            {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "hm"},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "o"},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "k"},
            {
                "type": "response.output_item.added",
                "output_index": 2,
                "item": {"type": "function_call", "name": "f", "call_id": "c", "arguments": ""},
            },
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"},
            {"type": "response.completed", "response": {"object": "response", "status": "completed"}},
        ),
        ["assistant reasoning: hm", "assistant text: ok", "assistant tool call f c: {}"],
        "completed",
    ),
]


@pytest.mark.parametrize(("response", "expected", "finish"), ANSWERS)
def test_an_answer_is_read_in_each_dialect(response: Response, expected: list[str], finish: str) -> None:
    """Whole or streamed, at any cut; parts in the order in which they began."""
    messages = answer_messages(response)
    assert lines(messages) == expected
    assert [message.finish for message in messages] == [finish]


def test_choices_are_apart() -> None:
    """Of `n > 1` each choice is a message of its own, however they came interleaved."""
    events = [{"choices": [{"index": place % 2, "delta": {"content": str(place)}}]} for place in range(6)]
    assert [(message.choice, message.text) for message in answer_messages(stream(*events))] == [(0, "024"), (1, "135")]


KEYS = st.sampled_from(
    ["messages", "content", "role", "type", "text", "tool_calls", "function", "choices", "delta", "index", "input"]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=5))
def test_nothing_fails(body: dict[str, Any]) -> None:
    """Whatever JSON stands in a recording; and what is read can be written as JSON."""
    found = (request_messages(request(**body)), answer_messages(whole(**body)), answer_messages(stream(body, body)))
    assert all(orjson.dumps(as_data(messages)) for messages in found)


def test_parts_as_data() -> None:
    """Names of the glossary, and null for what is not there."""
    message = ChatMessage("user", (MessagePart("text", "hi"),), finish="stop")
    assert as_data([message]) == [
        {
            "role": "user",
            "choice": 0,
            "finish": "stop",
            "parts": [{"kind": "text", "name": None, "id": None, "text": "hi"}],
        }
    ]
