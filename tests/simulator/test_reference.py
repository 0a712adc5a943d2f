"""The simulator's answers have the form of vLLM 0.32's: keys, their order, types, null values and frames."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from replayproxy.model import Request
from replayproxy.simulator.generation import TextSettings
from tests.doubles.simulation import answered, simulator
from tests.doubles.virtual_clock import VirtualClock
from tests.simulator.reference import BEGINNINGS, FILE, PLAIN, THINKING, Row, kept

REFERENCE = orjson.loads(FILE.read_bytes())


def simulated(row: Row, reasoning: int = 0) -> dict[str, Any]:
    """What the file would have of the simulator's answer."""
    method, path, body = row
    clock = VirtualClock()
    text = TextSettings(length="max", reasoning_tokens=reasoning)
    server = simulator(clock, text=text, max_model_len=2048, counts_cached=not reasoning)
    asked = Request(method, path, (), b"" if body is None else orjson.dumps(body))
    answer = asyncio.run(clock.run(answered(server, asked)))
    return kept(answer.status, answer.body.decode())


@pytest.mark.parametrize("name", PLAIN)
def test_answers_have_the_form_of_vllm(name: str) -> None:
    """Errors have its words too."""
    assert orjson.dumps(simulated(PLAIN[name])) == orjson.dumps(REFERENCE["plain"][name])


@pytest.mark.parametrize("name", BEGINNINGS)
def test_tool_calls_begin_as_those_of_vllm(name: str) -> None:
    """The name once, then arguments."""
    found, expected = simulated(BEGINNINGS[name]), REFERENCE["plain"][name]
    assert found["status"] == expected["status"]
    assert orjson.dumps(found["forms"][:3]) == orjson.dumps(expected["forms"][:3])


@pytest.mark.parametrize("name", THINKING)
def test_reasoning_has_the_form_of_vllm(name: str) -> None:
    """Where all of the answer is reasoning."""
    assert orjson.dumps(simulated(THINKING[name], reasoning=50)) == orjson.dumps(REFERENCE["thinking"][name])
