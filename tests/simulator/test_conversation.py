"""Tests of `simulator/conversation`: what a prompt is, and what is echoed."""

from __future__ import annotations

from replayproxy.simulator.conversation import Message, chat_messages, echoed, prompt_text
from replayproxy.simulator.generation import Tool


def test_a_longer_conversation_begins_as_the_shorter_one() -> None:
    """So that a cache of prefixes has something to find."""
    messages = [Message("system", "Be kind."), Message("user", "Hello.")]
    short = prompt_text(messages)
    longer = prompt_text([*messages, Message("assistant", "Hi!"), Message("user", "How?")])
    assert longer.startswith(short)
    assert prompt_text(messages, generates=False) == short.removesuffix("<|assistant|>\n")


def test_tools_are_part_of_the_prompt() -> None:
    """And count as tokens."""
    assert '"object"' in prompt_text([Message("user", "x")], [Tool("look", {"type": "object"})])


def test_what_is_echoed_is_the_last_message_of_the_user() -> None:
    """Or the last of all."""
    assert echoed([Message("user", "a"), Message("assistant", "b")]) == "a"
    assert echoed([Message("system", "a")]) == "a"
    assert echoed([]) == ""


def test_calls_and_results_are_messages_too() -> None:
    """What is no message is left out."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    found = chat_messages(
        [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "5"}, 7]
    )
    assert found == [Message("assistant", "[look({})]"), Message("tool", "5")]
