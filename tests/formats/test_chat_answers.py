"""Chats made of logs: a completion, or a stream of one."""

from __future__ import annotations

import orjson

from replayproxy.core.dialects.folding import folded
from replayproxy.formats.bodies import CHAT
from replayproxy.formats.chat_answers import chat_exchange, chat_request, completion_of, streamed_chat

CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = completion_of({"content": "Hello", "tool_calls": [CALL]}, "m", "stop", {"prompt_tokens": 1}, "id")


def test_a_request_without_stream_gets_one_object() -> None:
    """At the times that are known."""
    found = chat_exchange(chat_request({"model": "m", "messages": [], "seed": None}), ANSWER, 7, first=3, end=9)
    assert found.request.body == b'{"model":"m","messages":[]}'
    assert orjson.loads(found.response.body) == ANSWER
    assert (found.recorded_at, found.response.timeline.head, found.response.timeline.end) == (7, 3, 9)


def test_a_request_with_stream_gets_events_that_fold_to_the_same() -> None:
    """The message, the reason, the usage, the end."""
    found = chat_exchange(chat_request({"stream": True}), ANSWER, 7, first=3, end=9)
    assert found.response.body.endswith(b"data: [DONE]\n\n")
    assert folded(CHAT, found.response) == ANSWER
    assert found.response.timeline.chunks == (3, 9, 9, 9)


def test_a_text_in_pieces_has_a_gap_before_each_but_the_first() -> None:
    """And is the same text."""
    response = streamed_chat(completion_of({"content": "Hello"}, "m", "stop"), 10, 50, [5, 7], ["He", "l", "lo"])
    assert response.timeline.chunks == (10, 15, 22, 50, 50)
    answer = folded(CHAT, response)
    assert answer is not None
    assert answer["choices"][0]["message"]["content"] == "Hello"
