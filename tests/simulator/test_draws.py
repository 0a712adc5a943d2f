"""Tests of `simulator/draws`: what an answer depends on, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator import draws
from replayproxy.simulator.draws import RequestKeys


def drawn(keys: RequestKeys, body: Any, path: str = "/v1/chat", purpose: str = "text", index: int = 0) -> float:
    """One number."""
    return keys.draws("POST", path, body).generator(purpose, index).random()


def test_draws_depend_on_seed_request_and_occurrence() -> None:
    """And on nothing else: a second server with the same seed draws the same."""
    first = [drawn(RequestKeys(1), {"a": 1}), drawn(RequestKeys(2), {"a": 1}), drawn(RequestKeys(1), {"a": 2})]
    keys = RequestKeys(1)
    repeated = [drawn(keys, {"a": 1}), drawn(keys, {"a": 1})]
    assert repeated[0] == first[0]
    assert len({*first, *repeated}) == 4
    assert drawn(RequestKeys(1), {"b": 1, "a": 2}) == drawn(RequestKeys(1), {"a": 2, "b": 1})
    assert drawn(RequestKeys(1), {"a": 1}, path="/other") != first[0]


@pytest.mark.parametrize("body", [{"temperature": 0}, {"seed": 7, "temperature": 1}])
def test_a_greedy_request_gets_the_same_text_again(body: dict[str, Any]) -> None:
    """But another id, and other latencies."""
    keys = RequestKeys(1)
    one, two = (keys.draws("POST", "/v1/chat", body) for _ in range(2))
    assert one.generator("text").random() == two.generator("text").random()
    assert one.generator("latency").random() != two.generator("latency").random()
    assert one.id("request") != two.id("request")


def test_purposes_and_choices_draw_for_themselves() -> None:
    """None shares its numbers with another."""
    one = RequestKeys(1).draws("POST", "/v1/chat", {})
    numbers = {one.generator(purpose, index).random() for purpose in ("text", "latency") for index in range(3)}
    assert len(numbers) == 6
    assert len(one.id("request")) == 16


def test_what_json_cannot_sort_has_a_key_too() -> None:
    """Numbers of any size."""
    assert drawn(RequestKeys(1), {"a": 10**30}) == drawn(RequestKeys(1), {"a": 10**30})


def test_occurrences_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest ones are forgotten."""
    monkeypatch.setattr(draws, "REMEMBERED", 2)
    keys = RequestKeys(1)
    for body in (1, 2, 3):
        assert keys.draws("POST", "/", body).occurrence == 0
    assert [keys.draws("POST", "/", body).occurrence for body in (3, 1)] == [1, 0]
