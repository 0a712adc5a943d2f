"""Tests of `simulator/text`: length, content, where an answer stops, and which tools it calls."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.simulator.generation import (
    REASONING,
    TEXT,
    TOOL_CALL,
    GenerationRequest,
    InventedAnswer,
    TextSettings,
    Tool,
    ToolChoice,
)
from replayproxy.simulator.text import END, SENTENCES, WORDS, Composer, length_from_histogram
from replayproxy.simulator.tokens import ByteTokenizer

TOKENIZER = ByteTokenizer()
PLAIN = Composer(TOKENIZER, TextSettings())
ANY = GenerationRequest(prompt=[1, 2, 3], echo="Say this is a test!", limit=1000)
TOOL = Tool("look", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
OTHER = Tool("find", {"type": "object", "properties": {"b": {"enum": ["x"]}}, "required": ["b"]})


def composed(request: GenerationRequest, seed: int = 1, **settings: Any) -> InventedAnswer:
    """The answer with one draw."""
    composer = Composer(TOKENIZER, TextSettings(**settings)) if settings else PLAIN
    return composer.compose(request, random.Random(seed))


def test_echo_repeats_what_was_said() -> None:
    """As far as there is room."""
    assert composed(ANY, mode="echo").text_of(TEXT) == "Say this is a test!"
    assert composed(ANY, mode="echo").finish_reason == "stop"
    cut = composed(replace(ANY, limit=2, max_tokens=2), mode="echo")
    assert (cut.text_of(TEXT), cut.finish_reason) == ("Say thi", "length")


def test_random_text_is_sentences_or_words() -> None:
    """Of the lists."""
    text = composed(replace(ANY, ignore_eos=True, limit=300), seed=2).text_of(TEXT)
    assert sum(sentence in text for sentence in SENTENCES) >= 5
    words = composed(replace(ANY, ignore_eos=True, limit=300), words=True).text_of(TEXT).split()
    assert set(words[:-1]) <= set(WORDS)


@pytest.mark.parametrize("limit", [1, 6, 7, 50, 101, 102, 1000])
def test_lengths_are_within_the_limit_and_say_when_they_reach_it(limit: int) -> None:
    """`length` exactly where all tokens are used; else the last token ends the answer."""
    request = replace(ANY, limit=limit, max_tokens=limit)
    for seed in range(200):
        answer = composed(request, seed)
        assert 1 <= len(answer.steps) <= limit
        assert (answer.finish_reason == "length") == (len(answer.steps) == limit)
        assert (answer.steps[-1][1] == END) == (answer.finish_reason == "stop")


def test_lengths_follow_the_histogram() -> None:
    """Six buckets of a limit of 1000, with the shares of llm-d-inference-sim."""
    draw = random.Random(5)
    lengths = [length_from_histogram(1000, draw) for _ in range(20_000)]
    edges = [(1, 20, 0.2), (21, 40, 0.3), (41, 60, 0.2), (61, 979, 0.05), (980, 999, 0.1), (1000, 1000, 0.15)]
    for low, high, share in edges:
        assert sum(low <= length <= high for length in lengths) / 20_000 == pytest.approx(share, abs=0.01), low


def test_lengths_without_a_limit_are_about_forty() -> None:
    """Normal around 40."""
    lengths = [len(composed(ANY, seed).steps) for seed in range(2000)]
    assert sum(lengths) / 2000 == pytest.approx(42, abs=3)  # those below 1 are drawn again


@pytest.mark.parametrize(
    ("more", "settings", "length"),
    [
        ({"ignore_eos": True}, {}, 60),
        ({}, {"length": "max"}, 60),
        ({"ignore_eos": True}, {"mode": "echo"}, 60),
        ({"min_tokens": 60}, {}, 60),
    ],
)
def test_a_length_that_is_demanded(more: dict[str, Any], settings: dict[str, Any], length: int) -> None:
    """All of `max_tokens`."""
    answer = composed(replace(ANY, limit=60, max_tokens=60, **more), **settings)
    assert (len(answer.steps), answer.finish_reason) == (length, "length")


def test_min_tokens_are_there() -> None:
    """Whatever is drawn."""
    request = replace(ANY, limit=200, max_tokens=200, min_tokens=100)
    assert all(len(composed(request, seed).steps) >= 100 for seed in range(50))


@pytest.mark.parametrize(
    ("more", "text", "reason"),
    [
        ({"stop": (" is",)}, "Say this", " is"),
        ({"stop": ("zzz", "a t", "is")}, "Say th", "is"),
        ({"stop": (" is",), "keep_stop": True}, "Say this is", " is"),
        ({"stop": (" is",), "min_tokens": 100}, "Say this is a test!", None),
        ({"stop_token_ids": (TOKENIZER.encode(" a")[0],)}, "Say this is", TOKENIZER.encode(" a")[0]),
        ({"stop": ("",)}, "Say this is a test!", None),
    ],
)
def test_stops(more: dict[str, Any], text: str, reason: object) -> None:
    """At the first of them, without it, and with the reason."""
    answer = composed(replace(ANY, **more), mode="echo")
    shown = answer.text_of(TEXT)
    assert shown.startswith(text) if more.get("min_tokens") else shown == text
    assert (answer.finish_reason, answer.stop_reason) == ("stop", reason)


def test_a_schema_is_followed() -> None:
    """The text is JSON."""
    request = replace(ANY, schema={"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]})
    assert orjson.loads(composed(request).text_of(TEXT)) == {"a": 1}
    assert composed(replace(ANY, options=("yes", "no"))).text_of(TEXT) in ("yes", "no")


def test_reasoning_comes_first_and_counts() -> None:
    """It takes part of the limit, and may take all of it."""
    answer = composed(replace(ANY, reasoning_tokens=10, limit=30, max_tokens=30, ignore_eos=True))
    assert [(part.kind, len(part.tokens)) for part in answer.parts] == [(REASONING, 10), (TEXT, 20)]
    assert answer.reasoning_tokens == 10
    all_of_it = composed(replace(ANY, reasoning_tokens=10, limit=4, max_tokens=4))
    assert [(part.kind, len(part.tokens)) for part in all_of_it.parts] == [(REASONING, 4)]
    assert all_of_it.finish_reason == "length"


@pytest.mark.parametrize(
    ("choice", "parallel", "counts", "finish"),
    [
        (ToolChoice("none"), True, {0}, {"stop"}),
        (ToolChoice("auto"), True, {0, 1, 2}, {"stop", "tool_calls"}),
        (ToolChoice("required"), True, {1, 2}, {"tool_calls"}),
        (ToolChoice("required"), False, {1}, {"tool_calls"}),
        (ToolChoice("named", "find"), True, {1}, {"stop"}),
    ],
)
def test_tool_calls(choice: ToolChoice, parallel: bool, counts: set[int], finish: set[str]) -> None:
    """As many as `tool_choice` allows; never more than there are tools; arguments match the schema."""
    request = replace(ANY, tools=(TOOL, OTHER), tool_choice=choice, parallel_tool_calls=parallel)
    answers = [composed(request, seed) for seed in range(200)]
    assert {len(answer.tool_calls) for answer in answers} == counts
    assert {answer.finish_reason for answer in answers} == finish
    names = Counter(call.name for answer in answers for call in answer.tool_calls)
    assert set(names) == ({"find"} if choice.name else {"look", "find"} if counts != {0} else set())
    for answer in answers:
        for call in answer.tool_calls:
            assert orjson.loads(call.text).keys() == ({"a"} if call.name == "look" else {"b"})


def test_an_extra_call_comes_as_often_as_it_should() -> None:
    """0 percent: never; 100: always."""
    request = replace(ANY, tools=(TOOL, OTHER), tool_choice=ToolChoice("auto"))
    assert {len(composed(request, seed, extra_call=0).tool_calls) for seed in range(50)} == {0}
    assert {len(composed(request, seed, extra_call=100).tool_calls) for seed in range(50)} == {2}


def test_a_tool_call_is_cut_by_the_limit() -> None:
    """In the middle of its arguments, and the reason says so."""
    request = replace(ANY, tools=(TOOL,), tool_choice=ToolChoice("required"), limit=3, max_tokens=3)
    answer = composed(request)
    assert [part.kind for part in answer.parts] == [TOOL_CALL]
    assert (len(answer.steps), answer.finish_reason) == (3, "length")


def test_the_same_draw_gives_the_same_answer() -> None:
    """Which is why the order of arrival does not matter."""
    request = replace(ANY, tools=(TOOL, OTHER), tool_choice=ToolChoice("auto"))
    assert [composed(request, seed) for seed in range(20)] == [composed(request, seed) for seed in range(20)]
