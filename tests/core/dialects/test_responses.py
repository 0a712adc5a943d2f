"""The responses dialect."""

from __future__ import annotations

from replayproxy.core.dialects.dialect import Usage
from replayproxy.core.dialects.responses import RESPONSES

WHOLE = {
    "object": "response",
    "status": "incomplete",
    "output": [{"content": [{"text": "a"}, {"text": "b"}]}, {"type": "reasoning"}],
    "usage": {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}},
}


def test_body_and_last_event_state_the_same() -> None:
    """The last event carries the body under `response`; its text was streamed before, so it adds none."""
    event = {"type": "response.completed", "response": WHOLE}
    assert [RESPONSES.usage(WHOLE), RESPONSES.usage(event)] == [Usage(7, 3, 4)] * 2
    assert [RESPONSES.finish(WHOLE), RESPONSES.finish(event)] == ["incomplete"] * 2
    assert [RESPONSES.text(WHOLE), RESPONSES.text(event)] == [["a", "b"], []]


def test_deltas() -> None:
    """Each type that ends in `.delta` adds its text, tool arguments too."""
    kinds = ("response.output_text.delta", "response.function_call_arguments.delta", "response.output_text.done")
    assert [RESPONSES.text({"type": kind, "delta": "x"}) for kind in kinds] == [["x"], ["x"], []]
