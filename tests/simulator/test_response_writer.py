"""Tests of `simulator/response_writer`: the events of a stream, numbered, in the order of vLLM 0.32."""

from __future__ import annotations

from typing import Any

from replayproxy.simulator.generation import TextSettings
from tests.doubles.simulation import Answered, ask

ECHO = TextSettings(mode="echo")
TOOL = {"type": "function", "name": "look", "parameters": {"properties": {"a": {"const": 1}}, "required": ["a"]}}


def streamed(text: TextSettings = ECHO, **more: Any) -> Answered:
    """A streamed answer."""
    return ask("/v1/responses", {"model": "tiny", "input": "One two.", "stream": True, **more}, text=text)


def names(answer: Answered) -> list[str]:
    """The events without their prefix."""
    return [name.removeprefix("response.") for name in answer.names]


def test_a_text() -> None:
    """An item, a part, deltas, and the ends of each; the number of an event counts up."""
    answer = streamed()
    assert names(answer) == [
        "created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * 3,
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    events = answer.events
    assert [event["sequence_number"] for event in events] == list(range(11))
    assert [event["type"] for event in events] == answer.names
    assert (events[0]["response"]["status"], events[0]["response"]["usage"]) == ("in_progress", None)
    assert events[2]["item"]["content"] == []
    assert events[3]["part"] == {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
    assert list(events[4]) == [
        "content_index", "delta", "item_id", "logprobs", "output_index", "sequence_number", "type",
    ]  # fmt: skip
    assert "".join(event["delta"] for event in events[4:7]) == events[7]["text"] == "One two."
    assert events[-1]["response"]["output"] == [events[9]["item"]]


def test_a_tool_call() -> None:
    """Arguments instead of a part."""
    answer = streamed(tools=[TOOL], tool_choice="required")
    assert names(answer) == [
        "created", "in_progress", "output_item.added", *["function_call_arguments.delta"] * 7,
        "function_call_arguments.done", "output_item.done", "completed",
    ]  # fmt: skip
    item = answer.events[2]["item"]
    assert list(item) == [
        "arguments", "call_id", "name", "type", "id", "async", "caller", "namespace", "status",
    ]  # fmt: skip
    assert (item["arguments"], item["status"]) == ("", "in_progress")
    done = answer.events[-3]
    assert list(done) == ["arguments", "item_id", "output_index", "sequence_number", "type", "name"]
    assert (done["arguments"], done["name"]) == ('{"a":1}', "look")


def test_reasoning() -> None:
    """An item of its own, before the text."""
    answer = streamed(TextSettings(mode="echo", reasoning_tokens=2))
    assert names(answer)[2:9] == [
        "output_item.added", "content_part.added", *["reasoning_text.delta"] * 2, "reasoning_text.done",
        "content_part.done", "output_item.done",
    ]  # fmt: skip
    assert [event["output_index"] for event in answer.events if event["type"].endswith("item.done")] == [0, 1]
    final = answer.events[-1]["response"]
    assert final["usage"]["output_tokens_details"]["reasoning_tokens"] == 2


def test_logprobs_are_there_if_they_are_included() -> None:
    """Bytes only in the part that is complete."""
    answer = streamed(include=["message.output_text.logprobs"], top_logprobs=1)
    delta = next(event for event in answer.events if event["type"].endswith("output_text.delta"))
    assert delta["logprobs"] == [{"token": "One", "logprob": -1.0, "top_logprobs": [{"token": "One", "logprob": -1.0}]}]
    done = next(event for event in answer.events if event["type"].endswith("content_part.done"))
    assert [entry["token"] for entry in done["part"]["logprobs"]] == ["One", " two", "."]
    assert done["part"]["logprobs"][0]["bytes"] == [79, 110, 101]
