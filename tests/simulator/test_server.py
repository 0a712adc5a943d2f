"""Tests of `simulator/server`: health, load, version and sleep."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.simulator.latency import Latency
from tests.doubles.simulation import MS, answered, ask, chat, request, simulator, together
from tests.doubles.virtual_clock import VirtualClock


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/ready"), ("GET", "/health/ready"), ("GET", "/ping"), ("POST", "/ping")],
)
def test_probes_are_answered_without_a_body(method: str, path: str) -> None:
    """200, as vLLM does."""
    answer = ask(path, method=method)
    assert (answer.status, answer.body) == (200, b"")


def test_the_version_is_that_of_the_frames() -> None:
    """Which is named."""
    assert ask("/version").json == {"version": "0.32.0"}


def test_load_counts_what_runs_and_what_waits() -> None:
    """Up, and down again."""
    clock = VirtualClock()
    server = simulator(clock, Latency(ttft=100 * MS), max_num_seqs=1)
    body = request("/v1/chat/completions", chat(max_tokens=1))
    load = request("/load")
    answers = together(server, clock, [(0, body), (1, body), (2, load), (150, load), (300, load)])
    assert [answer.json for answer in answers[2:]] == [{"server_load": 2}, {"server_load": 1}, {"server_load": 0}]


def test_a_server_sleeps_and_wakes_up() -> None:
    """Who follows it is told; answers are those of vLLM."""
    clock, levels = VirtualClock(), list[int]()
    server = simulator(clock)
    server.context.sleep_state.followers.append(levels.append)

    async def story() -> list[object]:
        found = []
        for method, path in (
            ("POST", "/sleep?level=2"), ("GET", "/is_sleeping"), ("POST", "/wake_up?tags=kv_cache"),
            ("GET", "/is_sleeping"), ("POST", "/sleep"),
        ):  # fmt: skip
            asked = request(path, b"" if method == "POST" else None)
            found.append((await answered(server, asked)).json)
        return found

    assert asyncio.run(clock.run(story())) == [
        {"status": "sleeping", "level": 2}, {"is_sleeping": True}, {"status": "awake", "tags": ["kv_cache"]},
        {"is_sleeping": False}, {"status": "sleeping", "level": 1},
    ]  # fmt: skip
    assert levels == [2, 0, 1]


def test_a_level_that_does_not_exist_is_refused() -> None:
    """With a sentence."""
    assert ask("/sleep?level=7", b"").error == (400, "level=7 is not a sleep level: give 1 or 2")
