"""Live answers in the next turn: texts, tool results bound to live calls, and what stays as recorded."""

from __future__ import annotations

from typing import Any

from replayproxy.core.dialects.dialect import Json
from replayproxy.drive.history import LiveAnswer, live_message, with_live_answers, with_live_response


def call(id: str, name: str = "f") -> Json:
    """A tool call."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def chat_answer(**message: Any) -> Json:
    """An answer of a chat."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "reasoning": "hm", **message}}]}


def user(text: str) -> Json:
    """A message of the user."""
    return {"role": "user", "content": text}


def test_texts_are_replaced_and_reasoning_is_not_sent_back() -> None:
    """Both earlier answers, each at its place."""
    body = {"messages": [user("a"), {"role": "assistant", "content": "old"}, user("b"),
                         {"role": "assistant", "content": "older"}, user("c")]}  # fmt: skip
    live = [LiveAnswer(1, chat_answer(content="new")), LiveAnswer(3, chat_answer(content="newer"))]
    found = with_live_answers(body, live)
    assert [one["content"] for one in found.body["messages"]] == ["a", "new", "b", "newer", "c"]
    assert found.body["messages"][1] == {"role": "assistant", "content": "new"}
    assert found.kept == 0


def test_tool_results_get_the_ids_of_the_live_calls() -> None:
    """By their order."""
    body = {
        "messages": [
            user("a"),
            {"role": "assistant", "content": None, "tool_calls": [call("old1"), call("old2", "g")]},
            {"role": "tool", "tool_call_id": "old2", "content": "2"},
            {"role": "tool", "tool_call_id": "old1", "content": "1"},
        ]
    }
    found = with_live_answers(
        body, [LiveAnswer(1, chat_answer(content=None, tool_calls=[call("n1"), call("n2", "g")]))]
    )
    assert [one.get("tool_call_id") for one in found.body["messages"]] == [None, None, "n2", "n1"]
    assert [one["id"] for one in found.body["messages"][1]["tool_calls"]] == ["n1", "n2"]


def test_an_answer_that_calls_other_tools_is_not_taken() -> None:
    """Its results would be missing, and the recorded ones would have no call: that is counted."""
    recorded = {"role": "assistant", "content": "text"}
    body = {"messages": [user("a"), recorded, user("b")]}
    found = with_live_answers(body, [LiveAnswer(1, chat_answer(content=None, tool_calls=[call("n")]))])
    assert (found.body, found.kept) == (body, 1)
    calling = {"messages": [user("a"), {**recorded, "tool_calls": [call("o")]}, user("b")]}
    assert with_live_answers(calling, [LiveAnswer(1, chat_answer(content="no call"))]).kept == 1
    assert with_live_answers(body, [LiveAnswer(0, chat_answer(content="x")), LiveAnswer(9, {})]).kept == 2
    assert with_live_answers({"prompt": "x"}, []).body == {"prompt": "x"}


def test_blocks_of_anthropic_are_bound_too() -> None:
    """`tool_use` and `tool_result`."""
    use = {"type": "tool_use", "id": "old", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "old", "content": "1"}
    body = {
        "messages": [user("a"), {"role": "assistant", "content": [use]}, {"role": "user", "content": [result, "t"]}]
    }
    answer = {"content": [{"type": "thinking", "thinking": "hm"}, {**use, "id": "new"}]}
    found = with_live_answers(body, [LiveAnswer(1, answer)])
    assert found.body["messages"][1]["content"] == [{**use, "id": "new"}]
    assert found.body["messages"][2]["content"] == [{**result, "tool_use_id": "new"}, "t"]


def test_a_response_continues_the_live_one() -> None:
    """Its id, and the ids of calls by order; with another number of calls the results stay as they are."""
    output = {"type": "function_call_output", "call_id": "old", "output": "1"}
    body = {"previous_response_id": "resp_old", "input": [{"role": "user", "content": "x"}, output]}
    live = {"id": "resp_new", "output": [{"type": "reasoning"}, {"type": "function_call", "call_id": "new"}]}
    found = with_live_response(body, live)
    assert found["previous_response_id"] == "resp_new"
    assert found["input"][1]["call_id"] == "new"
    assert with_live_response(body, {**live, "output": []})["input"] == body["input"]
    assert with_live_response({"previous_response_id": "o", "input": "x"}, live)["input"] == "x"


def test_an_answer_without_words_or_calls_is_not_sent_back() -> None:
    """An error has no message."""
    assert live_message({"error": {}}) is None
    assert live_message(chat_answer(content=None)) is None
