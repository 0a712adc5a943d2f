"""The messages dialect."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import Usage
from replayproxy.core.dialects.messages import MESSAGES


def test_stream() -> None:
    """Input tokens are in the first event, output tokens and the reason in the last but one, text in the deltas."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "cache_read_input_tokens": 4}}}
    delta = {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
    events = (start, delta, end)
    assert [MESSAGES.usage(event) for event in events] == [Usage(7, None, 4), Usage(), Usage(None, 3)]
    assert [MESSAGES.finish(event) for event in events] == [None, None, "end_turn"]
    assert [MESSAGES.text(event) for event in events] == [[], ["{"], []]


def test_body() -> None:
    """A body has its text in blocks and its reason at the top."""
    body = {"content": [{"type": "text", "text": "a"}, {"type": "tool_use"}], "stop_reason": "tool_use"}
    assert (MESSAGES.text(body), MESSAGES.finish(body)) == (["a"], "tool_use")
