"""Where two requests differ, in words that people know, and which of several is the nearest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replayproxy.core.identity.difference import ABSENT, FLOOR, SHOWN, Difference, differences, nearest, similarity
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Request
from replayproxy.ports import Neighbour

MATCHER = Matcher(MatchRules())

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why is the sea salt, and since when do people know?"},
    ],
    "temperature": 0.7,
    "tools": [{"function": {"name": "f", "a b": 1}}],
}


def chat(target: str = "/v1/chat/completions", **changes: Any) -> Request:
    """CHAT with changes; `...` takes a field out."""
    body = {name: value for name, value in (CHAT | changes).items() if value is not ...}
    return Request("POST", target, (), json.dumps(body).encode())


def content(text: str) -> list[dict[str, str]]:
    """Messages with another last one."""
    return [CHAT["messages"][0], {"role": "user", "content": text}]


LONG = "x" * 500
ROWS: list[tuple[str, Request, Request, list[tuple[str, str, str]]]] = [
    ("nothing", chat(), chat(), []),
    ("what is ignored", chat(user="a"), chat(user="b"), []),
    ("a number", chat(), chat(temperature=0.8), [("$.temperature", "0.7", "0.8")]),
    ("a field more", chat(), chat(stop=["\n"]), [("$.stop", ABSENT, '["\\n"]')]),
    ("a field less", chat(), chat(temperature=...), [("$.temperature", "0.7", ABSENT)]),
    ("null and absent", chat(stop=None), chat(), [("$.stop", "null", ABSENT)]),
    ("true and 1", chat(stop=True), chat(stop=1), [("$.stop", "true", "1")]),
    ("a name with a blank", chat(), chat(tools=[{"function": {"name": "f", "a b": 2}}]), [
        ("$.tools[0].function['a b']", "1", "2"),
    ]),
    ("a message more", chat(), chat(messages=[*CHAT["messages"], {"role": "user"}]), [
        ("$.messages[2]", ABSENT, '{"role":"user"}'),
    ]),
    ("a message before", chat(), chat(messages=[CHAT["messages"][0], {"role": "x"}, CHAT["messages"][1]]), [
        ("$.messages[1]", ABSENT, '{"role":"x"}'),
    ]),
    ("a message changed", chat(), chat(messages=content("Why is the sky blue?")), [
        ("$.messages[1].content", "Why is the sea salt, and since when do people know?", "Why is the sky blue?"),
    ]),
    ("far into a long text", chat(messages=content(LONG + "17" + LONG)), chat(messages=content(LONG + "20" + LONG)), [
        ("$.messages[1].content", f"…{'x' * 24}17{'x' * 46}…", f"…{'x' * 24}20{'x' * 46}…"),
    ]),
    ("lines and worse", chat(stop="a\nb\t\x07c"), chat(stop="a\nb\t\x07d"), [("$.stop", "a⏎b→·c", "a⏎b→·d")]),
    ("half a surrogate", chat(stop="\ud800"), chat(stop="b"), [("$.stop", "\\ud800", "b")]),
    ("the query", chat("/v1/x?a=1&b=2"), chat("/v1/x?a=1&b=3&c"), [("?b", "2", "3"), ("?c", ABSENT, "")]),
    ("the path", chat("/v1/x"), chat("/v1/y"), [("request", "POST /v1/x", "POST /v1/y")]),
    ("kinds", Request("POST", "/x", (), b"{"), Request("POST", "/x", (), b"{}"), [
        ("$", "a body of bytes", "a body of json"),
    ]),
    ("bytes", Request("POST", "/x", (), b"\x00\xffa"), Request("POST", "/x", (), b"\x00\xffb"), [("$", "·ÿa", "·ÿb")]),
    ("another type", Request("POST", "/x", (), b"[1]"), Request("POST", "/x", (), b'{"a":1}'), [
        ("$", "[1]", '{"a":1}'),
    ]),
]  # fmt: skip  # one row a rule


@pytest.mark.parametrize(("recorded", "received", "found"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_where_they_differ(recorded: Request, received: Request, found: list[tuple[str, str, str]]) -> None:
    """A path as RFC 9535 spells it, and both values around the place where they part."""
    told = differences(MATCHER.compared(recorded), MATCHER.compared(received))
    assert [(one.path, one.recorded, one.received) for one in told] == found


def test_headers_that_are_compared() -> None:
    """By their names."""
    matcher = Matcher(MatchRules(headers=("X-Tenant",)))
    one, other = (matcher.compared(Request("GET", "/x", (("X-Tenant", value),))) for value in "ab")
    assert list(differences(one, other)) == [Difference("header x-tenant", "a", "b")]


def test_what_it_looks_like() -> None:
    """A date against a date is said to be one."""
    one, other = (chat(messages=content(f"Today is {day}.")) for day in ("2026-11-17", "2026-11-20"))
    [told] = differences(MATCHER.compared(one), MATCHER.compared(other))
    assert told.likeness == "date"


def neighbour(request: Request, id: str = "a") -> Neighbour:
    """A recording."""
    return Neighbour("x.cassette", id, request, 200)


def test_the_nearest_is_the_one_that_differs_least_where_it_matters() -> None:
    """A few words of the prompt weigh more than the temperature, less than another prompt."""
    received = chat(messages=content("Why is the sea salt, and since when do we know?"))
    found = nearest(MATCHER, received, [
        neighbour(chat(messages=content("What is the capital of France?")), "other prompt"),
        neighbour(chat(temperature=0.8), "two differences"),
        neighbour(chat(), "one difference"),
        neighbour(chat(model="n"), "another model"),
    ])  # fmt: skip  # one a line
    assert found is not None
    assert found.neighbour.id == "one difference"
    assert [one.path for one in found.differences] == ["$.messages[1].content"]


STRANGERS: list[tuple[str, Request]] = [
    ("another prompt", chat(messages=content("Quelle heure est-il?"))),
    ("some words in common", chat(messages=content("Since when do people drink coffee?"))),
    ("no conversation", chat(messages=...)),
    ("another shape", Request("POST", "/v1/chat/completions", (), b'{"query":"x"}')),
    ("another kind", Request("POST", "/v1/chat/completions", (), b"{")),
]


@pytest.mark.parametrize("recorded", [row[1] for row in STRANGERS], ids=[row[0] for row in STRANGERS])
def test_a_stranger_is_not_shown(recorded: Request) -> None:
    """Advice from a stranger is worse than none."""
    assert similarity(MATCHER.compared(recorded), MATCHER.compared(chat())) < FLOOR
    assert nearest(MATCHER, chat(), [neighbour(recorded)]) is None
    assert nearest(MATCHER, chat(), []) is None


def test_many_common_turns_are_kinship() -> None:
    """An agent whose last tool call gave something else is where it was recorded, one turn on."""
    turns = [{"role": "user", "content": f"turn {number} of a long conversation"} for number in range(8)]
    recorded, received = (
        chat(messages=[*turns, {"role": "tool", "content": said}]) for said in ("sunny, 21 degrees", "Error 500")
    )
    found = nearest(MATCHER, received, [neighbour(recorded)])
    assert found is not None
    assert [one.path for one in found.differences] == ["$.messages[8].content"]


def test_many_differences_are_counted() -> None:
    """The first are shown, the rest is a number."""
    more: dict[str, Any] = {f"field{number}": number for number in range(SHOWN + 3)}
    found = nearest(MATCHER, chat(**more), [neighbour(chat())])
    assert found is None or (len(found.differences), found.more) == (SHOWN, 3)
    assert found is not None


def test_similarity_is_one_for_equals_and_the_same_both_ways() -> None:
    """From 0 to 1."""
    requests = [request for _, recorded, received, _ in ROWS for request in (recorded, received)]
    for one in requests:
        assert similarity(MATCHER.compared(one), MATCHER.compared(one)) == 1
        for other in requests:
            there, back = (similarity(*map(MATCHER.compared, pair)) for pair in ((one, other), (other, one)))
            assert 0 <= there <= 1
            assert there == pytest.approx(back)


ONLY_DEFAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "one that a router adds": ({}, {"separate_reasoning": True}, True),
    "ten of them": ({}, {"logprobs": False, "n": 1, "stream": False, "stop": None, "tool_choice": None}, True),
    "on the recording": ({"n": 1}, {}, True),
    "on both": ({"n": 1}, {"frequency_penalty": 0.0}, True),
    "another value": ({}, {"n": 2}, False),
    "a default and something else": ({}, {"n": 1, "temperature": 0.9}, False),
    "a field without a default": ({}, {"vendor": None}, False),
    "other words": ({}, {"n": 1, "messages": content("Why is the sea so salt, and since when do people know?")}, False),
}


@pytest.mark.parametrize("name", ONLY_DEFAULTS)
def test_whether_only_defaults_differ(name: str) -> None:
    """Then --match-defaults finds the recording, and else it does not."""
    recorded, received, only = ONLY_DEFAULTS[name]
    neighbour = Neighbour("a.cassette", "1", chat(**recorded), 200)
    found = nearest(MATCHER, chat(**received), [neighbour])
    assert found is not None
    assert found.only_defaults is only
    lenient = Matcher(MatchRules(defaults=True))
    assert (lenient.key(chat(**recorded)) == lenient.key(chat(**received))) is only
