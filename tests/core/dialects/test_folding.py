"""A folded stream is the object that the server would have sent without streaming."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.core.dialects.folding import folded
from replayproxy.core.dialects.sse import encode
from replayproxy.model import Chunk, End, Ending, Head, Response

STREAM = (("content-type", "text/event-stream"),)


def stream(*events: object, fields: tuple[tuple[str, str], ...] = STREAM) -> Response:
    """An answer of these events."""
    data = [encode(event if isinstance(event, bytes) else orjson.dumps(event)) for event in events]
    return Response.of(Head(1, 200, fields), [Chunk(1, part) for part in data], End(1, Ending.COMPLETE))


def chunk(delta: dict[str, Any] | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """A chunk of a chat."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": None, **more}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def test_a_chat_is_folded() -> None:
    """Texts, reasoning, tool calls, log probabilities, token ids, usage; each choice for itself."""
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    answer = folded(
        "/v1/chat/completions",
        stream(
            chunk({"role": "assistant", "content": ""}) | {"prompt_token_ids": [1, 2]},
            chunk({"reasoning": "hm"}),
            chunk({"content": "He"}, logprobs={"content": [1]}, token_ids=[3]),
            chunk({"content": "llo"}, logprobs={"content": [2]}, token_ids=[4, 5]),
            chunk({"tool_calls": [call]}, 1),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, 1),
            chunk({}, 0, finish_reason="stop", stop_reason=7),
            chunk({}, 1, finish_reason="tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 2}},
            b"[DONE]",
        ),
    )
    assert answer == {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "prompt_token_ids": [1, 2],
        "usage": {"prompt_tokens": 2},
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "reasoning": "hm"},
                "finish_reason": "stop",
                "logprobs": {"content": [1, 2]},
                "token_ids": [3, 4, 5],
                "stop_reason": 7,
            },
            {
                "index": 1,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
                },
                "finish_reason": "tool_calls",
            },
        ],
    }


def test_a_completion_is_folded() -> None:
    """Its log probabilities are lists beside one another."""
    answer = folded(
        "/v1/completions",
        stream(
            {"id": "c", "choices": [{"index": 0, "text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [-1]}}]},
            {"id": "c", "choices": [{"index": 0, "text": "b", "logprobs": {"tokens": ["b"], "token_logprobs": [-2]}}]},
        ),
    )
    assert answer is not None
    (choice,) = answer["choices"]
    assert choice["text"] == "ab"
    assert choice["logprobs"] == {"tokens": ["a", "b"], "token_logprobs": [-1, -2]}


def test_a_response_is_its_last_event() -> None:
    """Which repeats the whole answer."""
    events = [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.completed", "response": {"id": "r", "output": []}},
    ]
    assert folded("/v1/responses", stream(*events)) == {"id": "r", "output": []}
    assert folded("/v1/responses", stream()) is None


def test_a_message_is_folded() -> None:
    """Texts and the arguments of tools, usage of the beginning and of the end."""
    answer = folded(
        "/v1/messages",
        stream(
            {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 3}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "He"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "y"}},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "name": "f", "input": {}},
            },
            {"type": "content_block_delta", "index": 1, "delta": {"partial_json": '{"a":'}},
            {"type": "content_block_delta", "index": 1, "delta": {"partial_json": "1}"}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        ),
    )
    assert answer == {
        "id": "m",
        "content": [{"type": "text", "text": "Hey"}, {"type": "tool_use", "name": "f", "input": {"a": 1}}],
        "usage": {"input_tokens": 3, "output_tokens": 9},
        "stop_reason": "tool_use",
    }


@pytest.mark.parametrize(
    "events", [[b"x"], [[1]], [{"choices": 7}], [{"choices": [7]}], [{"type": "message_start"}], []]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/other"])
def test_nothing_fails(path: str, events: list[object]) -> None:
    """What is not of a dialect counts as absent."""
    answer = folded(path, stream(*events))
    assert answer is None or isinstance(answer, dict)


def test_hostile_indexes_make_no_long_lists() -> None:
    """A tool call with the index 10^9 is one call."""
    call = {"index": 10**9, "function": {"name": "f", "arguments": ""}}
    answer = folded(
        "/v1/chat/completions", stream(chunk({"tool_calls": [call]}), chunk({"tool_calls": [{**call, "index": -1}]}))
    )
    assert answer is not None
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


def test_an_answer_in_one_piece_is_parsed() -> None:
    """And an error in a stream is the error."""
    whole = stream({"a": 1}, fields=(("content-type", "application/json"),))
    body = Response.of(Head(1, 200, whole.headers), [Chunk(1, b'{"a":1}')], End(1, Ending.COMPLETE))
    assert folded("/v1/chat/completions", body) == {"a": 1}
    assert folded("/v1/chat/completions", stream(chunk({"content": "a"}), {"error": {"message": "no"}})) == {
        "error": {"message": "no"}
    }
