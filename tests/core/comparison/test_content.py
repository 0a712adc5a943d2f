"""What an answer says, of each dialect: the same whether it was streamed or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from replayproxy.core.comparison.content import content_of, texts_by_name
from replayproxy.model import Response
from tests.recordings import JSON, said, streamed, whole_answer


def stream(*events: Any) -> Response:
    """One event per chunk."""
    return said([b"data: " + orjson.dumps(event) + b"\n\n" for event in events])


def whole(body: Any) -> Response:
    """Not streamed."""
    return said([orjson.dumps(body)], headers=JSON)


CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}

ANSWERS: Sequence[tuple[str, Response]] = [
    (
        "chat stream",
        stream(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"index": 0, "delta": {"reasoning": "hm", "reasoning_content": "hm"}}]},
            {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
            {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "look"}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
            {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}},
        ),
    ),
    (
        "chat",
        whole(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"reasoning": "hm", "content": "Hello", "tool_calls": [CALL]},
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": {"prompt_tokens": 7, "completion_tokens": 5},
            }
        ),
    ),
    (
        "messages stream",
        stream(
            {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 0}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "look"}},
            {"type": "content_block_delta", "index": 2, "delta": {"partial_json": '{"a":1}'}},
            {"type": "message_delta", "delta": {"stop_reason": "tool_calls"}, "usage": {"output_tokens": 5}},
        ),
    ),
    (
        "messages",
        whole(
            {
                "type": "message",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Hello"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}},
                ],
                "stop_reason": "tool_calls",
                "usage": {"input_tokens": 7, "output_tokens": 5},
            }
        ),
    ),
    (
        "responses stream",
        stream(
            {"type": "response.reasoning_text.delta", "delta": "hm"},
            {"type": "response.output_text.delta", "delta": "Hello"},
            {
                "type": "response.output_item.added",
                "output_index": 1,
                "item": {"type": "function_call", "name": "look"},
            },
            {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a":1}'},
            {
                "type": "response.completed",
                "response": {
                    "object": "response",
                    "status": "tool_calls",
                    "usage": {"input_tokens": 7, "output_tokens": 5},
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
                },
            },
        ),
    ),
    (
        "responses",
        whole(
            {
                "object": "response",
                "status": "tool_calls",
                "output": [
                    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
                    {"type": "function_call", "name": "look", "arguments": '{"a":1}'},
                ],
                "usage": {"input_tokens": 7, "output_tokens": 5},
            }
        ),
    ),
]


@pytest.mark.parametrize(("name", "response"), ANSWERS, ids=[name for name, _ in ANSWERS])
def test_every_dialect_says_the_same(name: str, response: Response) -> None:
    """Reasoning, text, the tool call, the reason and the counts."""
    found = content_of(response)
    (calls,) = found.calls.values()
    assert (found.text((0, "reasoning")), found.text((0, "content"))) == ("hm", "Hello"), name
    assert [(call.name, call.value()) for call in calls] == [("look", {"a": 1})]
    assert (found.finish, found.prompt_tokens, found.completion_tokens) == ({0: "tool_calls"}, 7, 5)
    assert found.other is None


def test_the_texts_that_a_client_sends_on() -> None:
    """By what they are, the same of a stream and of a whole answer; also an empty content."""
    for _, response in ANSWERS[:2]:
        found = texts_by_name(response)
        assert found["content 0"] == "Hello"
        assert found["call 0 0 arguments"] == '{"a":1}'
    assert texts_by_name(ANSWERS[1][1])["call 0 0 id"] == "call_1"
    assert texts_by_name(stream({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})) == {"content 0": ""}


def test_pieces_know_their_chunk() -> None:
    """The role comes in chunk 0, the words after it."""
    found = content_of(said(streamed(["a", "b"])))
    assert [(piece.text, piece.chunk) for piece in found.pieces[0, "content"]] == [("a", 1), ("b", 2)]


def test_choices_and_token_ids_are_kept_apart() -> None:
    """`n` answers in one stream."""
    found = content_of(
        stream(
            {"choices": [{"index": 1, "text": "x", "token_ids": [5]}, {"index": 0, "text": "y", "token_ids": [6]}]},
            {"choices": [{"index": 1, "text": "z", "token_ids": [7]}]},
        )
    )
    assert (found.text((0, "text")), found.text((1, "text"))) == ("y", "xz")
    assert found.tokens == {1: [5, 7], 0: [6]}


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "no", "code": 400}},
        {"object": "error", "message": "no"},
        {"type": "error", "message": "no"},
        {"type": "response.failed", "response": {"error": {"message": "no"}}},
    ],
)
def test_an_error_is_seen(error: dict[str, Any]) -> None:
    """In a body, and as an event within a stream that began with 200."""
    assert content_of(whole(error)).error == "no"
    assert content_of(stream({"choices": []}, error)).error == "no"


def test_cached_tokens_are_counted() -> None:
    """As the server states them."""
    assert content_of(said([whole_answer("a")], headers=JSON)).cached_tokens == 2


@pytest.mark.parametrize(
    ("body", "other"), [(b"\xff\x00", b"\xff\x00"), (b'{"data":[1]}', [{"data": [1]}]), (b"[1,2]", [[1, 2]])]
)
def test_what_no_dialect_has_is_other(body: bytes, other: object) -> None:
    """Embeddings, lists of models, audio."""
    assert content_of(said([body], headers=JSON)).other == other


HOSTILE: Sequence[Any] = [
    {"choices": "x"},
    {"choices": [None, 5, {"index": "x", "delta": 5, "message": []}]},
    {"choices": [{"index": 2**62, "delta": {"tool_calls": [{"index": -1, "function": 5}], "content": ["a"]}}]},
    {"type": "content_block_start", "index": None, "content_block": 5},
    {"type": "response.output_item.added", "item": 7, "delta": {}},
    {"output": [{"content": 5}, 5], "content": 7},
    [[[]]],
    7,
    None,
]


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_fails(value: Any) -> None:
    """Every field may have any type."""
    content_of(whole(value))
    content_of(stream(value, value))
