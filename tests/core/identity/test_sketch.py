"""A dozen bytes that say what a request looks like: near requests share many of them, strangers few."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.identity.sketch import SIZE, WEIGHTS, alike, sketch
from replayproxy.model import Request

MATCHER = Matcher(MatchRules())

PROMPT = "Tell me how the river came to the sea, who built the mill beside it, and what today, 2026-11-17, is like."
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
    "temperature": 0.7,
}


def of(**changes: Any) -> bytes:
    """The sketch of CHAT with changes."""
    return sketch(MATCHER.compared(Request("POST", "/v1/chat/completions", (), json.dumps(CHAT | changes).encode())))


def common(one: bytes, other: bytes) -> int:
    """What they have in common, weighed."""
    return sum(weight for weight, first, second in zip(WEIGHTS, one, other, strict=True) if first == second)


def said(prompt: str) -> list[dict[str, str]]:
    """A conversation with another last message."""
    return [CHAT["messages"][0], {"role": "user", "content": prompt}]


NEAR: list[tuple[str, dict[str, Any], int]] = [
    ("another date", {"messages": said(PROMPT.replace("17", "20"))}, 10),
    ("another temperature", {"temperature": 0.8}, sum(WEIGHTS) - 1),
    ("another model", {"model": "n"}, sum(WEIGHTS) - 2),
    ("another system prompt", {"messages": [{"role": "system", "content": "Be long."}, CHAT["messages"][1]]}, 12),
    ("what is ignored", {"user": "you"}, sum(WEIGHTS)),
]


@pytest.mark.parametrize(("changes", "least"), [row[1:] for row in NEAR], ids=[row[0] for row in NEAR])
def test_near_requests_share_most(changes: dict[str, Any], least: int) -> None:
    """One small change leaves the rest."""
    assert common(of(), of(**changes)) >= least


def test_strangers_share_little() -> None:
    """Another text: the model, the settings and the system prompt are all there is."""
    assert common(of(), of(messages=said("Why is the moon not made of cheese?"))) <= 8


ODD = [
    Request("GET", "/v1/models"),
    Request("POST", "/x", (), b"\x00\xff not json"),
    Request("POST", "/x", (), b"[1,2,3]"),
    Request("POST", "/x", (), b'"text"'),
    Request("POST", "/x", (), b'{"prompt":[1,2,3]}'),
    Request("POST", "/x", (), b'{"prompt":"\\ud800"}'),
    Request("POST", "/x", (("content-type", "multipart/form-data; boundary=b"),), b"--b\r\nA: b\r\n\r\nc\r\n--b--"),
    Request("POST", "/x", (), json.dumps({"prompt": "word " * 200_000}).encode()),
]


@pytest.mark.parametrize("request_", ODD, ids=range(len(ODD)))
def test_every_request_has_one(request_: Request) -> None:
    """Whatever it is, and always the same."""
    made = sketch(MATCHER.compared(request_))
    assert len(made) == SIZE
    assert made == sketch(MATCHER.compared(request_))


def test_the_most_alike_come_first() -> None:
    """Of very many, the later first among equals; none that has nothing in common."""
    chance = Random(7)
    wanted = of()
    strangers = [bytes(chance.randrange(256) for _ in range(SIZE)) for _ in range(5_000)]
    strangers[17] = of(temperature=0.8)
    strangers[40] = strangers[4_000] = wanted
    assert alike(b"".join(strangers), wanted, 3) == [4_000, 40, 17]
    ranked = sorted(range(5_000), key=lambda place: (-common(strangers[place], wanted), -place))
    assert alike(b"".join(strangers), wanted, 50) == ranked[:50]
    nothing = bytes(255 - byte for byte in wanted)
    assert alike(nothing * 9, wanted, 4) == []
    assert alike(b"", wanted, 4) == []
