"""Tests of `simulator/structured`: the fields that say what an answer must look like."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest

from replayproxy.simulator.grammar import read_grammar
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.regex import read_regex
from replayproxy.simulator.routes import ApiError
from replayproxy.simulator.simulator import Simulator
from replayproxy.simulator.structured import ANY_OBJECT, structure_of, structure_of_responses
from tests.doubles.fakes import ManualClock
from tests.doubles.simulation import answered, request

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("body", "structure"),
    [
        ({}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"schema": ANY_OBJECT}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
            {"schema": SCHEMA},
        ),
        ({"structured_outputs": {"json": SCHEMA}}, {"schema": SCHEMA}),
        ({"guided_json": SCHEMA}, {"schema": SCHEMA}),
        ({"structured_outputs": {"choice": ["a", "b"]}}, {"options": ("a", "b")}),
        ({"guided_choice": ["a"]}, {"options": ("a",)}),
        ({"structured_outputs": {"json_object": True}}, {"schema": ANY_OBJECT}),
        ({"structured_outputs": {"json": '{"type": "object"}', "disable_any_whitespace": True}}, {"schema": SCHEMA}),
        ({"structured_outputs": {"regex": "a+"}}, {"language": read_regex("a+")}),
        ({"guided_regex": "a+"}, {"language": read_regex("a+")}),
        ({"structured_outputs": {"grammar": "root ::= [ab]"}}, {"language": read_grammar("root ::= [ab]")}),
        ({"guided_grammar": "start: X\nX: /a/"}, {"language": read_grammar("start: X\nX: /a/")}),
        ({"structured_outputs": {"structural_tag": "{}"}}, {}),
    ],
)
def test_what_is_read(body: dict[str, Any], structure: dict[str, Any]) -> None:
    """OpenAI's format, vLLM's fields, and those of older versions."""
    assert structure_of(body) == structure


def test_an_answer_follows_an_expression_or_a_grammar() -> None:
    """The whole way through a chat and a completion; without enough tokens it is cut, as any other."""

    async def talk() -> list[str]:
        clock = ManualClock()
        simulator = Simulator(Simulation(model="tiny"), clock)
        chat = {
            "messages": [{"role": "user", "content": "When?"}],
            "structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}"},
        }
        completion = {"prompt": "Say", "guided_grammar": 'root ::= "yes" | "no"'}
        answers = [
            await answered(simulator, request("/v1/chat/completions", {"model": "tiny", "max_tokens": 50, **chat})),
            await answered(simulator, request("/v1/completions", {"model": "tiny", "max_tokens": 50, **completion})),
            await answered(simulator, request("/v1/chat/completions", {"model": "tiny", "max_tokens": 1, **chat})),
        ]
        choices = [orjson.loads(answer.body)["choices"][0] for answer in answers]
        return [choice.get("text") or choice["message"]["content"] for choice in choices]

    date, word, cut = asyncio.run(talk())
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)
    assert word in ("yes", "no")
    assert re.fullmatch(r"\d{1,4}", cut)


def test_responses_have_it_elsewhere() -> None:
    """Flat, below `text`."""
    body = {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}
    assert structure_of_responses(body) == {"schema": SCHEMA}


@pytest.mark.parametrize(
    ("format", "message"),
    [({"type": "xml"}, "response_format of type 'xml' does not exist"), ({"type": "json_schema"}, "has no schema")],
)
def test_a_format_that_does_not_exist_is_refused(format: dict[str, Any], message: str) -> None:
    """With what to give instead."""
    with pytest.raises(ApiError, match=message):
        structure_of({"response_format": format})


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"regex": "a", "choice": ["b"]}, "only use one kind of structured outputs constraint"),
        ({}, "must use one kind of structured outputs constraint"),
        ("a+", "must be an object"),
        ({"regex": "("}, r"structured_outputs.regex ends in the middle"),
        ({"grammar": "root ::= x"}, r"structured_outputs.grammar refers to a rule 'x'"),
        ({"choice": []}, "at least one text"),
        ({"json": "{"}, "is no JSON"),
    ],
)
def test_what_cannot_be_followed_is_refused(outputs: Any, words: str) -> None:
    """With 400, and vLLM's words where it has some."""
    with pytest.raises(ApiError, match=words) as refused:
        structure_of({"structured_outputs": outputs})
    assert refused.value.status == 400
