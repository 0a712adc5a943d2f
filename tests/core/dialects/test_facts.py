"""What is read from the dialects vLLM speaks, and that nothing there can fail."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

from replayproxy.core.dialects import facts as dialect_facts
from replayproxy.core.dialects.facts import Facts, facts_of, text_of
from replayproxy.core.dialects.sse import Event
from replayproxy.core.dialects.table import text_in
from replayproxy.model import Chunk, End, Ending, Head, Headers, Request, Response

STREAM: Headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
JSON: Headers = (("Content-Type", "application/json"),)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}


def streamed(*events: object, name: str = "", end: bytes = b"\n") -> Response:
    """One event a chunk; the n-th comes at n ns."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    named = [(b"event: " + name.encode() + end if name else b"") + b"data: " + line + end + end for line in lines]
    return Response.of(
        Head(0, 200, STREAM), [Chunk(at, line) for at, line in enumerate(named, 1)], End(99, Ending.COMPLETE)
    )


def whole(value: object) -> Response:
    """A body in one piece."""
    return Response.of(Head(0, 200, JSON), [Chunk(1, json.dumps(value).encode())], End(2, Ending.COMPLETE))


def asked(**fields: Any) -> Request:
    """A request."""
    return Request("POST", "/v1/x", (), json.dumps({"model": "m"} | fields).encode())


def delta(**fields: Any) -> dict[str, Any]:
    """A chat chunk."""
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


CHAT = streamed(
    delta(role="assistant", content=""),
    delta(content="Hel"),
    delta(content="lo"),
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
    b"[DONE]",
)
COMPLETIONS = streamed(
    {"choices": [{"text": "Hel", "finish_reason": None}]},
    {"choices": [{"text": "lo", "finish_reason": "length"}], "usage": USAGE},
    b"[DONE]",
)
RESPONSES = streamed(
    {"type": "response.created", "response": {"object": "response", "status": "in_progress", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Hel"},
    {"type": "response.output_text.delta", "delta": "lo"},
    {
        "type": "response.completed",
        "response": {
            "object": "response",
            "status": "completed",
            "output": [{"content": [{"type": "output_text", "text": "Hello"}]}],
            "usage": {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}},
        },
    },
)
MESSAGES = streamed(
    {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 7, "output_tokens": 0, "cache_read_input_tokens": 4}},
    },
    {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)
STREAMS = {
    "chat": (CHAT, "stop", 2),
    "completions": (COMPLETIONS, "length", 1),
    "responses": (RESPONSES, "completed", 2),
    "messages": (MESSAGES, "end_turn", 3),
}


@pytest.mark.parametrize(("response", "finish", "first"), STREAMS.values(), ids=STREAMS.keys())
def test_facts_of_streams(response: Response, finish: str, first: int) -> None:
    """Each dialect says the same in its own words; TTFT is the first event with content, not the first event."""
    assert facts_of(asked(stream=True), response) == Facts("m", True, 7, 3, 4, finish, first)
    assert text_of(response) == "Hello"


def test_facts_of_long_streams() -> None:
    """What stands at the beginning and at the end is found however much lies between."""
    start, *_, end, stop = (orjson.loads(chunk.data.split(b"data: ")[1]) for chunk in MESSAGES.chunks())
    said = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x" * 300}}
    facts = facts_of(asked(), streamed(start, *[said] * 200, end, stop))
    assert facts == Facts("m", True, 7, 3, 4, "end_turn", 2)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_facts_of_a_stream_whose_last_event_is_long(end: bytes) -> None:
    """`/responses` ends with the whole answer in one event, which may be longer than the tail that is looked at."""
    *events, last = (orjson.loads(chunk.data.split(b"data: ")[1]) for chunk in RESPONSES.chunks())
    last["response"]["output"] = [{"content": [{"text": "x" * 3 * dialect_facts.TAIL_BYTES}]}]
    facts = facts_of(asked(), streamed(*events, last, b"[DONE]", end=end))
    assert facts == Facts("m", True, 7, 3, 4, "completed", 2)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_facts_of_a_stream_that_goes_on_in_comments(end: bytes) -> None:
    """Comments may follow the last event for as long as the client stays; they are no events."""
    body = CHAT.body.replace(b"\n", end) + (b": ping" + end + end) * dialect_facts.TAIL_BYTES
    response = Response.of(Head(0, 200, STREAM), [Chunk(9, body)], End(99, Ending.COMPLETE))
    assert facts_of(asked(), response) == Facts("m", True, 7, 3, 4, "stop", 9)


BODIES: dict[str, tuple[dict[str, Any], str, Facts]] = {
    "chat": (
        {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": USAGE},
        "Hello",
        Facts("m", False, 7, 3, 4, "stop"),
    ),
    "n = 2": (
        {"choices": [{"message": {"content": "a"}, "finish_reason": "length"}, {"message": {"content": "b"}}]},
        "ab",
        Facts("m", False, finish="length"),
    ),
    "reasoning, by either name": (
        {"choices": [{"message": {"reasoning": "hm ", "reasoning_content": "hm ", "content": "a"}}]},
        "hm a",
        Facts("m"),
    ),
    "tool calls": (
        {
            "choices": [
                {
                    "message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
                    "finish_reason": "tool_calls",
                }
            ]
        },
        "f{}",
        Facts("m", finish="tool_calls"),
    ),
    "responses": (
        {
            "object": "response",
            "status": "incomplete",
            "output": [{"content": [{"text": "a"}]}],
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        "a",
        Facts("m", False, 1, 2, None, "incomplete"),
    ),
    "messages": (
        {
            "content": [{"type": "text", "text": "a"}],
            "stop_reason": "max_tokens",
            "usage": {"input_tokens": 1, "output_tokens": 2},
        },
        "a",
        Facts("m", False, 1, 2, None, "max_tokens"),
    ),
    "embeddings": ({"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 2}}, "", Facts("m", False, 2)),
    "an error": ({"error": {"message": "no", "code": 404}}, "", Facts("m")),
    "counts that are none": ({"usage": {"prompt_tokens": True, "completion_tokens": -1}}, "", Facts("m")),
}


@pytest.mark.parametrize(("body", "text", "facts"), BODIES.values(), ids=BODIES.keys())
def test_facts_of_bodies(body: dict[str, Any], text: str, facts: Facts) -> None:
    """What was not said is None."""
    assert text_of(whole(body)) == text
    assert facts_of(asked(), whole(body)) == facts


def test_stream_is_what_was_asked_or_what_came() -> None:
    """An error answers a streaming request in one piece."""
    assert facts_of(asked(stream=True), whole({})).stream
    assert not facts_of(asked(stream=False), whole({})).stream
    assert facts_of(asked(), CHAT).stream


def test_an_event_has_the_time_of_the_chunk_that_completed_it() -> None:
    """Also where chunks cut events and where one chunk completes two."""
    body = b"data: a\n\ndata: b\n\ndata: c\n\n"
    chunks = [Chunk(5, body[:3]), Chunk(6, body[3:20]), Chunk(7, body[20:])]
    response = Response.of(Head(0, 200, STREAM), chunks, End(8, Ending.COMPLETE))
    assert list(dialect_facts.events_at(response)) == [
        (6, Event("message", "a")),
        (6, Event("message", "b")),
        (7, Event("message", "c")),
    ]


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "usage",
                    "response",
                    "type",
                    "output",
                    "text",
                ]
            ),
            inside,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON_LIKE, JSON_LIKE)
def test_nothing_here_fails(one: object, other: object) -> None:
    """Any JSON in any place: what cannot be read is not known."""
    for response in (whole(one), streamed(one, other), streamed(b"{", b"", one)):
        assert isinstance(facts_of(asked(), response), Facts)
        assert isinstance(text_of(response), str)
    assert isinstance(text_in({"choices": one, "delta": other, "type": "content_block_delta"}), str)


@given(st.binary(max_size=50), st.booleans())
def test_nothing_here_fails_on_bytes_either(body: bytes, stream: bool) -> None:
    """Also compressed bodies and pictures have facts: none."""
    response = Response.of(Head(0, 200, STREAM if stream else JSON), [Chunk(1, body)], End(2, Ending.COMPLETE))
    assert facts_of(Request("POST", "/", (), body), response).prompt_tokens is None
    assert dialect_facts.parsed(b"[1]") == {}


def test_the_error_envelope_is_openai_s() -> None:
    """All four fields, null where there is nothing to say."""
    body = orjson.loads(dialect_facts.error_body("no", type="not_found_error", code="no_match"))
    assert body == {"error": {"message": "no", "type": "not_found_error", "param": None, "code": "no_match"}}


def test_our_usage_is_theirs() -> None:
    """The usage of these tests is one that the openai package accepts."""
    assert CompletionUsage.model_validate(USAGE).total_tokens == 10
