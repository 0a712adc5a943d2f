"""Tests of `simulator/generation`: the steps of an answer, and ranges that cannot be."""

from __future__ import annotations

import pytest

from replayproxy.errors import SettingsError
from replayproxy.simulator.generation import REASONING, TEXT, TOOL_CALL, AnswerPart, InventedAnswer, ToolRanges
from replayproxy.simulator.tokens import Token

A, B, C = Token(1, "a"), Token(2, "b"), Token(3, "c")
ANSWER = InventedAnswer(
    (AnswerPart(REASONING, (A,)), AnswerPart(TEXT, (B,)), AnswerPart(TOOL_CALL, (C, A), "look", "1")), "tool_calls"
)


def test_steps_count_the_name_of_a_tool() -> None:
    """Which is a token without a text of its own."""
    assert ANSWER.steps == ((0, A), (1, B), (2, None), (2, C), (2, A))
    assert ANSWER.tokens == (A, B, C, A)


def test_parts_by_kind() -> None:
    """Text, reasoning and calls."""
    assert (ANSWER.text_of(TEXT), ANSWER.text_of(REASONING), ANSWER.reasoning_tokens) == ("b", "a", 1)
    assert [(call.name, call.text) for call in ANSWER.tool_calls] == [("look", "ca")]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_integer": 5, "max_integer": 4}, "--min-tool-call-integer-param 5 is more than --max-tool-call-integer"),
        ({"min_number": 101.0}, "--min-tool-call-number-param 101 is more than --max-tool-call-number-param 100"),
        ({"max_array": 0}, "--min-tool-call-array-param-length 1 is more than --max-tool-call-array-param-length 0"),
    ],
)
def test_ranges_without_a_value_are_refused(wrong: dict[str, int], message: str) -> None:
    """By a sentence with both settings."""
    with pytest.raises(SettingsError, match=message):
        ToolRanges(**wrong)
