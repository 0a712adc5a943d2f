"""Tests of `simulator/simulator`: keys, queues, order of arrival, and clients that leave."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from replayproxy.model import Request
from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from tests.doubles.simulation import MS, WEATHER, EventLog, answered, ask, chat, request, simulator, together
from tests.doubles.virtual_clock import VirtualClock

PATH = "/v1/chat/completions"
JITTERED = Latency(ttft=100 * MS, itl=10 * MS, jitter=0.3)


def mixed(number: int) -> Request:
    """A request of one of several kinds."""
    body: dict[str, Any] = chat(
        f"Question {number}", stream=number % 2 == 0, n=1 + number % 3, max_tokens=1 + number % 12
    )
    if number % 5 == 0:
        body |= {"tools": [WEATHER], "tool_choice": "auto"}
    return request(PATH, body)


def test_a_thousand_requests_in_any_order_get_the_same_bytes() -> None:
    """With the same seed: whatever comes first, and however many run at the same time. Another seed gives others."""
    numbers = list(range(1000))

    def run(order: list[int], apart: float, seed: int = 1, at_once: int = 2000) -> dict[int, bytes]:
        clock = VirtualClock()
        server = simulator(clock, JITTERED, seed=seed, max_num_seqs=at_once, max_waiting=10_000)
        answers = together(server, clock, [(place * apart, mixed(number)) for place, number in enumerate(order)])
        return {number: frames(answer.body) for number, answer in zip(order, answers, strict=True)}

    def frames(body: bytes) -> bytes:
        """Choices of one stream interleave by their times; each choice's own frames do not change."""
        return b"\n".join(sorted(body.split(b"\n\n")))

    shuffled = random.Random(3).sample(numbers, len(numbers))
    first = run(numbers, 0)
    assert first == run(shuffled, 5, at_once=4)
    assert first != run(numbers, 0, seed=2)


def test_times_do_not_depend_on_the_order_either() -> None:
    """While there is room for all."""

    def gaps(order: list[int]) -> dict[int, list[float]]:
        clock = VirtualClock()
        server = simulator(clock, JITTERED, max_num_seqs=100)
        answers = together(server, clock, [(place, mixed(number)) for place, number in enumerate(order)])
        return {
            number: [round(at, 6) for at, _ in answer.chunks] for number, answer in zip(order, answers, strict=True)
        }

    assert gaps(list(range(20))) == gaps(list(range(19, -1, -1)))


def test_equal_requests_get_other_answers_unless_they_are_greedy() -> None:
    """The second of two is drawn anew; with temperature 0 the text is the same, and the id is not."""
    clock = VirtualClock()
    server = simulator(clock)
    plain, greedy = request(PATH, chat()), request(PATH, chat(temperature=0))
    answers = [answer.json for answer in together(server, clock, [(0, plain), (1, plain), (2, greedy), (3, greedy)])]
    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert texts[0] != texts[1]
    assert texts[2] == texts[3]
    assert len({answer["id"] for answer in answers}) == 4


def test_a_key_is_checked_under_v1() -> None:
    """As vLLM's `--api-key` does; everything else is open."""
    clock = VirtualClock()
    server = simulator(clock, api_keys=("one", "two"))
    asked = [
        request(PATH, chat(), authorization="Bearer two"),
        request(PATH, chat(), authorization="Bearer three"),
        request(PATH, chat(), authorization="Basic two"),
        request("/v1/models"),
        request("/health"),
    ]
    answers = together(server, clock, [(0, one) for one in asked])
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 200]
    assert answers[1].json == {"error": "Unauthorized"}


def test_a_full_queue_is_an_error_with_a_status_also_for_a_stream() -> None:
    """429, before the head of the stream."""
    clock = VirtualClock()
    server = simulator(clock, Latency(ttft=100 * MS), max_num_seqs=1, max_waiting=1)
    stream = request(PATH, chat(stream=True, max_tokens=1))
    answers = together(server, clock, [(0, stream), (1, stream), (2, stream)])
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].error[1] == "Failed to enqueue request, waiting requests queue is full"
    assert [answer.ended for answer in answers[:2]] == [100, pytest.approx(199)]


def test_a_client_that_leaves_frees_its_place() -> None:
    """And the engine is told."""
    clock = VirtualClock()
    server = simulator(clock, Latency(ttft=100 * MS))

    async def story() -> None:
        task = asyncio.create_task(answered(server, request(PATH, chat(stream=True))))
        await clock.sleep_until(50 * MS)
        assert len(server.engine.running) == 1
        task.cancel()
        await asyncio.wait([task])
        assert server.engine.running == []

    asyncio.run(clock.run(story()))


def test_a_listener_follows_requests() -> None:
    """With the id that the answer has."""
    from replayproxy.simulator.options import Simulation
    from replayproxy.simulator.simulator import Simulator

    clock, log = VirtualClock(), EventLog()
    options = Simulation(model="tiny", latency=Latency(ttft=100 * MS, itl=10 * MS), text=TextSettings(mode="echo"))
    server = Simulator(options, clock, listeners=[log])
    answer = asyncio.run(clock.run(answered(server, request(PATH, chat("One two.")))))
    events = [line.replace(f"{answer.json['id']}0 ", "") for line in log.lines]
    assert events == [
        "0 accepted", "0 started", "100 first", "110 token +10", "120 token +10", "130 token +10", "130 finished stop",
    ]  # fmt: skip


def test_a_body_in_pieces_is_read_to_its_end() -> None:
    """An upload comes as an iterator."""
    from collections.abc import AsyncIterator

    from tests.doubles.simulation import Answered

    async def upload() -> AsyncIterator[bytes]:
        whole = request(PATH, chat()).body
        yield whole[:10]
        yield whole[10:]

    client, clock = Answered(), VirtualClock()
    asyncio.run(clock.run(simulator(clock).play(Request("POST", PATH), client, upload())))
    assert client.status == 200


def test_unknown_paths_and_methods() -> None:
    """404 and 405."""
    assert ask("/nothing").status == 404
    assert ask("/v1/models", method="DELETE").status == 405
    assert ask("/v1/chat/completions").status == 405
