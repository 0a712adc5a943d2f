"""Two answers side by side: how far they agree, and the place where they first differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from replayproxy.core.comparison.agreement_level import (
    AgreementLevel,
    common_start,
    compare_answers,
    without_volatile,
)
from replayproxy.model import Ending, Response
from tests.core.comparison.test_content import HOSTILE, stream, whole
from tests.recordings import JSON, said, streamed, whole_answer

WORDS = [" the", " sea", " is", " blue"]
PLAIN = said(streamed(WORDS, 1))

LEVELS: Sequence[tuple[str, Response, AgreementLevel]] = [
    ("itself", PLAIN, AgreementLevel.BYTES),
    ("all in one chunk", said([b"".join(streamed(WORDS, 1))]), AgreementLevel.FRAMES),
    ("another id", said(streamed(WORDS, 2)), AgreementLevel.CANONICAL),
    ("two tokens in one event", said(streamed([" the sea", " is", " blue"], 1)), AgreementLevel.STRUCTURE),
    ("another word", said(streamed([" the", " sky", " is", " blue"], 1)), AgreementLevel.STRUCTURE),
    ("no end", said(streamed(WORDS, 1, done=False), ending=Ending.UPSTREAM_CUT), AgreementLevel.NONE),
    ("not streamed", said([whole_answer("".join(WORDS))], headers=JSON), AgreementLevel.NONE),
    ("an error", said([b'{"error":{"message":"no"}}'], status=500, headers=JSON), AgreementLevel.NONE),
]


@pytest.mark.parametrize(("name", "other", "level"), LEVELS, ids=[name for name, _, _ in LEVELS])
def test_each_level(name: str, other: Response, level: AgreementLevel) -> None:
    """From the same bytes to nothing in common, in both directions."""
    assert compare_answers(PLAIN, other).level is level, name
    assert compare_answers(other, PLAIN).level is level, name


def test_the_same_words_in_other_events_are_the_same_text() -> None:
    """As a server under load sends them; it says the same counts."""
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "choices": []}
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    single = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b")]
    both = [{"choices": [{"index": 0, "delta": {"content": "ab"}}]}]
    found = compare_answers(stream(*single, finish, usage), stream(*both, finish, usage))
    assert (found.level, found.differences) == (AgreementLevel.TEXT, ())


def test_one_token_changed_is_named_by_its_place() -> None:
    """Choice, token, character and chunk, and the text around it."""
    found = compare_answers(PLAIN, said(streamed([" the", " sky", " is", " blue"], 1)))
    (difference,) = found.differences
    place = difference.place
    assert place is not None
    assert (place.path, place.choice, place.token, place.character, place.chunk) == (
        "$.choices[0].delta.content",
        0,
        1,
        6,
        2,
    )
    assert (place.before, place.first, place.second) == (" the s", "ea is blue", "ky is blue")


@pytest.mark.parametrize("changed", range(12))
def test_the_place_is_found_wherever_it_is(changed: int) -> None:
    """Each token in turn."""
    words = [f" w{number}" for number in range(12)]
    other = [*words[:changed], " x", *words[changed + 1 :]]
    (difference,) = compare_answers(said(streamed(words)), said(streamed(other))).differences
    assert difference.place is not None
    assert difference.place.token == changed


def test_token_ids_say_the_token() -> None:
    """Where the server sends them, however it groups them into events."""
    first = stream({"choices": [{"index": 0, "text": "abc", "token_ids": [1, 2, 3]}]})
    second = stream(
        {"choices": [{"index": 0, "text": "ab", "token_ids": [1, 2]}]},
        {"choices": [{"index": 0, "text": "x", "token_ids": [9]}]},
    )
    (difference,) = compare_answers(first, second).differences
    assert difference.place is not None
    assert difference.place.token == 2


def test_a_longer_answer_differs_at_the_end_of_the_shorter() -> None:
    """One side has nothing there."""
    found = compare_answers(PLAIN, said(streamed([*WORDS, " today"], 1)))
    text = next(difference for difference in found.differences if difference.kind == "text")
    assert (text.first, text.second) == ("", " today")
    assert {difference.kind for difference in found.differences} == {"text", "usage"}


CALL = {"id": "call_1", "function": {"name": "look", "arguments": '{"a": 1, "b": 2}'}}


@pytest.mark.parametrize(
    ("call", "kinds", "level"),
    [
        ({**CALL, "id": "call_2"}, [], AgreementLevel.CANONICAL),
        (
            {**CALL, "function": {"name": "look", "arguments": '{"b":2,"a":1}'}},
            [],
            AgreementLevel.TEXT,
        ),
        ({**CALL, "function": {"name": "look", "arguments": '{"a":3}'}}, ["tools"], AgreementLevel.STRUCTURE),
        ({**CALL, "function": {"name": "delete", "arguments": "{}"}}, ["tools"], AgreementLevel.NONE),
    ],
)
def test_tool_calls_compare_as_values(call: Any, kinds: list[str], level: AgreementLevel) -> None:
    """Ids do not count, arguments as JSON, another tool is a regression."""
    first, second = (
        whole({"choices": [{"index": 0, "message": {"tool_calls": [one]}, "finish_reason": "tool_calls"}]})
        for one in (CALL, call)
    )
    found = compare_answers(first, second)
    assert ([difference.kind for difference in found.differences], found.level) == (kinds, level)


def test_cached_tokens_are_no_difference() -> None:
    """They say what the cache held, and a first run has none."""
    body = orjson.loads(whole_answer("a"))
    warm = body | {"usage": body["usage"] | {"prompt_tokens_details": {"cached_tokens": 6}}}
    cold = body | {"usage": body["usage"] | {"prompt_tokens_details": None}}
    found = compare_answers(whole(warm), whole(cold))
    assert (found.level, found.cached) == (AgreementLevel.CANONICAL, (6, None))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("status", {"status": 201}),
        ("finish", {"finish": "length"}),
        ("usage", {"tokens": 9}),
        ("shape", {"extra": 5}),
    ],
)
def test_each_kind_is_named(kind: str, change: dict[str, Any]) -> None:
    """And nothing else with it."""

    def answer(status: int = 200, finish: str = "stop", tokens: int = 3, extra: object = "x") -> Response:
        choice = {"index": 0, "message": {"content": "a"}, "finish_reason": finish}
        body = {"choices": [choice], "usage": {"completion_tokens": tokens}, "extra": extra}
        return replace(whole(body), status=status)

    found = compare_answers(answer(), answer(**change))
    assert [difference.kind for difference in found.differences] == [kind]


def test_other_bodies_compare_as_values() -> None:
    """Embeddings by number, audio by byte; ids of models are what they are."""
    ordered = whole({"data": [1], "object": "list"}), whole({"object": "list", "data": [1]})
    assert compare_answers(*ordered).level is AgreementLevel.CANONICAL
    assert compare_answers(whole({"data": [1]}), whole({"data": [2]})).level is AgreementLevel.STRUCTURE
    models = [whole({"data": [{"id": name, "created": number}]}) for number, name in enumerate(("a", "a", "b"))]
    assert compare_answers(models[0], models[1]).level is AgreementLevel.CANONICAL
    assert compare_answers(models[0], models[2]).level is AgreementLevel.STRUCTURE
    assert compare_answers(said([b"\xff"], headers=()), said([b"\xfe"], headers=())).level is AgreementLevel.STRUCTURE


@pytest.mark.parametrize("value", HOSTILE)
def test_nothing_fails(value: Any) -> None:
    """Every field may have any type, at any depth."""
    deep: Any = value
    for _ in range(200):
        deep = [deep]
    compare_answers(whole(value), stream(value))
    compare_answers(whole(deep), PLAIN)
    without_volatile(deep)


def test_the_common_start() -> None:
    """Of texts and of lists."""
    assert [common_start("abc", "abd"), common_start("", "a"), common_start([1, 2], [1, 2, 3])] == [2, 0, 2]
