"""The requests of the four scenarios: how many, how long, together or in turn, and unlike those of another run."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from replayproxy.drive.scenario import Phase, ScenarioOptions, phases_of, text_of_words


def phases(name: str, run: str = "r1", **more: Any) -> tuple[Phase, ...]:
    """Of this scenario, with a tokenizer that makes one token of a word."""
    return phases_of(ScenarioOptions(name, "tiny", run, **more), 1.0)


def prompts(phase: Phase) -> list[str]:
    """The texts that are sent."""
    bodies = [orjson.loads(request.body) for request in phase.requests]
    return [body["prompt"] if "prompt" in body else body["messages"][0]["content"] for body in bodies]


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("users", {}, [("warmup", 4, False), ("run", 4, False)]),
        ("users", {"users": 7}, [("warmup", 7, False), ("run", 7, False)]),
        ("unit", {}, [("warmup", 1, False), ("run", 1, False)]),
        ("unit", {"batch": 8}, [("warmup", 8, False), ("run", 8, False)]),
        ("prefix-cache", {}, [("run", 4, True)]),
        ("chunked-prefill", {}, [("warmup", 5, False), ("run", 5, False)]),
    ],
)
def test_phases(name: str, more: dict[str, Any], expected: list[tuple[str, int, bool]]) -> None:
    """A warm-up before the run, except where it would fill the cache that is tested."""
    found = phases(name, **more)
    assert [(one.name, len(one.requests), one.in_turn) for one in found] == expected
    assert all(len(set(prompts(one))) == len(one.requests) == len(one.names) for one in found)


def test_lengths_are_those_that_are_asked_for() -> None:
    """In words of one token each; the beginning of a prompt is no other one's."""
    for name, length in (("unit", 128), ("chunked-prefill", 600)):
        for phase in phases(name):
            assert all(abs(len(text.split()) - length) <= 2 for text in prompts(phase))
    long = phases("unit", input_length=4096)[1]
    assert abs(len(prompts(long)[0].split()) - 4096) <= 2
    beginnings = [text.split("]")[0] for phase in phases("users") for text in prompts(phase)]
    assert len(set(beginnings)) == 8


def test_questions_share_one_article() -> None:
    """In turn, with the question at the end; another run has another article."""
    (phase,) = phases("prefix-cache")
    articles = {text.rpartition("\n\n")[0] for text in prompts(phase)}
    assert len(articles) == 1
    assert [one.predecessor for one in phase.plan().requests] == [None, 0, 1, 2]
    assert prompts(phases("prefix-cache", "r2")[0])[0].split()[1] == "r2."
    assert [one.predecessor for one in phases("users")[0].plan().requests] == [None] * 4


def test_bodies() -> None:
    """Streams with usage; benchmarks of decoding have answers of one length."""
    (request,) = phases("unit", mode="generate", max_new_tokens=9)[1].requests
    body = orjson.loads(request.body)
    assert (request.path, body["max_tokens"], body["ignore_eos"], body["stream_options"]) == (
        "/v1/completions", 9, True, {"include_usage": True},
    )  # fmt: skip
    chat = phases("users")[1].requests[0]
    assert (chat.path, "ignore_eos" in orjson.loads(chat.body)) == ("/v1/chat/completions", False)


def test_texts_are_the_same_for_the_same_seed() -> None:
    """And have the words that are wanted."""
    assert text_of_words(50, "a") == text_of_words(50, "a") != text_of_words(50, "b")
    assert len(text_of_words(33, "a").split()) == 33
