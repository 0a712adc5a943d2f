"""Tests of `simulator/blocks`: where the parts of an answer begin and end."""

from __future__ import annotations

import random

from replayproxy.simulator.blocks import block_step
from replayproxy.simulator.generation import REASONING, TEXT, TOOL_CALL, AnswerPart, InventedAnswer
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.tokens import Token

A, B = Token(1, "a"), Token(2, "b")


def test_each_step_knows_its_place() -> None:
    """A part of one token begins and ends with it; the name of a tool call begins it."""
    answer = InventedAnswer(
        (AnswerPart(REASONING, (A,)), AnswerPart(TEXT, (A, B)), AnswerPart(TOOL_CALL, (B,), "look")), "tool_calls"
    )
    sequence = EngineSequence("r", 0, "m", [1], len(answer.steps), random.Random(1))
    found = []
    for step in answer.steps:
        sequence.generated += 1
        block = block_step(sequence, answer, step)
        found.append((block.number, block.text, block.begins, block.ends))
    assert found == [
        (0, "a", True, True), (1, "a", True, False), (1, "b", False, True), (2, "", True, False), (2, "b", False, True),
    ]  # fmt: skip
