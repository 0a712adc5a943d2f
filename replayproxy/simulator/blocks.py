"""Where the parts of an answer begin and end in its stream: for dialects that announce each part as a block.

steps of one sequence ──▶ (begins a part?, token, ends a part?)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from replayproxy.simulator.generation import AnswerPart, InventedAnswer
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.tokens import Token


class BlockStep(NamedTuple):
    """One step of a stream of blocks."""

    number: int
    part: AnswerPart
    text: str
    begins: bool
    ends: bool


def block_step(sequence: EngineSequence, answer: InventedAnswer, step: tuple[int, Token | None]) -> BlockStep:
    """What a step is within its part."""
    number, token = step
    steps: Sequence[tuple[int, Token | None]] = answer.steps
    at = sequence.generated - 1
    return BlockStep(
        number,
        answer.parts[number],
        "" if token is None else token.text,
        begins=at == 0 or steps[at - 1][0] != number,
        ends=at + 1 == len(steps) or steps[at + 1][0] != number,
    )
