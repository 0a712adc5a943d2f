"""How long the mock engine takes: to start, for a step, for a recorded batch, and for a token at full speed."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from pathlib import Path

import pytest

from replayproxy.model import Request
from tests.live.conftest import Figures
from tests.live.engine_matrix import WORDS, ask_each, documents, texts_and_counts
from tests.live.machine import wait_for_quiet
from tests.live.matrix import completion
from tests.live.mock_engine import EXAMPLE, install_beside, mock_engine
from tests.live.server import EXAMPLE as REAL
from tests.live.server import RealVllm
from tests.wire import connect

QUIET = 120.0
"""Seconds to wait for a quiet machine: figures of a busy one mean nothing."""

TOKENS = 200

TRIES = 3
"""Measurements until one is within its bound: a neighbour on the machine makes a run longer, never shorter."""


def long_story(number: int) -> Request:
    """A stream of 200 tokens."""
    body = {"temperature": 0, "ignore_eos": True, "max_tokens": TOKENS, "stream": True}
    return completion(f"{number}: {WORDS}", **body)


async def _gaps(url: str, request: Request) -> list[float]:
    """Milliseconds between the events of a stream."""
    async with connect(url) as connection:
        connection.send(request)
        await connection.head()
        times = [frame.at async for frame in connection.frames()]
    return [(after - before) / 1e6 for before, after in itertools.pairwise(times)]


def test_it_starts_sooner_than_the_real_engine(tmp_path: Path, figures: Figures) -> None:
    """From the command to /health, one after the other on the same machine."""
    install_beside()
    took = {}
    for name, serve, variables in (
        ("real", REAL / "serve", {}),
        ("mock", EXAMPLE / "serve", {"RANDOM_MODE": "1"}),
    ):
        wait_for_quiet(QUIET)
        began = time.monotonic()
        server = RealVllm.start(serve, tmp_path / name, variables=variables)
        took[name] = time.monotonic() - began
        server.stop()
    figures.append(f"start: the real tiny model {took['real']:.1f} s, the mock engine {took['mock']:.1f} s")
    assert took["mock"] < took["real"]


def test_a_forward_time_is_kept_to_a_millisecond(tmp_path: Path, figures: Figures) -> None:
    """The median gap between the events of one stream."""
    with mock_engine(tmp_path / "log", {"RANDOM_MODE": "1", "FORWARD_TIME": "25"}) as engine:
        middle = math.inf
        for number in range(TRIES):
            wait_for_quiet(QUIET)
            gaps = asyncio.run(_gaps(engine.url, long_story(number)))
            middle = statistics.median(gaps)
            figures.append(f"FORWARD_TIME=25: gaps p50 {middle:.2f} ms of {len(gaps)}")
            if middle < 26:
                break
    assert 25 <= middle < 26


async def _rate(url: str, streams: int) -> float:
    """Tokens per second over so many streams at once."""
    began = time.monotonic()
    answers = await ask_each(url, {str(number): long_story(number) for number in range(streams)}, at_once=streams)
    took = time.monotonic() - began
    assert {answer.status for answer in answers.values()} == {200}
    return streams * TOKENS / took


@pytest.mark.long
def test_it_is_faster_than_the_real_engine(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """With no time simulated, 1 and 16 streams of 200 tokens, in one run."""
    with mock_engine(tmp_path / "log", {"RANDOM_MODE": "1"}) as engine:
        for streams in (1, 16):
            wait_for_quiet(QUIET)
            rates = []
            for url in (vllm.url, engine.url):
                asyncio.run(_rate(url, streams))  # what is done once, at the first request
                rates.append(asyncio.run(_rate(url, streams)))
            figures.append(
                f"{streams} streams: the real tiny model {rates[0]:.0f} tokens/s, the mock engine {rates[1]:.0f}"
            )
            assert rates[1] > rates[0]


@pytest.mark.parametrize("streams", [1, 8])
def test_a_batch_takes_the_time_it_took(streams: int, tmp_path: Path, figures: Figures) -> None:
    """Captured in the engine of the real model, replayed with SIMULATE_ELAPSED_TIME: within 5 %."""
    cassette = tmp_path / "batch.cassette"
    questions = {str(number): long_story(number) for number in range(streams)}

    async def timed(url: str) -> tuple[float, dict[str, object]]:
        began = time.monotonic()
        answers = await ask_each(url, questions, at_once=streams)
        return time.monotonic() - began, {name: texts_and_counts(answer) for name, answer in answers.items()}

    with mock_engine(tmp_path / "capture", {"REPLAYPROXY_CASSETTE": str(cassette), "CAPTURE_MODE": "1"}) as engine:
        asyncio.run(ask_each(engine.url, {"warm": completion("warm up", max_tokens=4)}))
        wait_for_quiet(QUIET)
        took, said = asyncio.run(timed(engine.url))
    variables = {"REPLAYPROXY_CASSETTE": str(cassette), "SIMULATE_ELAPSED_TIME": "1"}
    with mock_engine(tmp_path / "replay", variables) as engine:
        asyncio.run(ask_each(engine.url, {"warm": completion("warm up", max_tokens=4)}))
        took_again = math.inf
        for _ in range(TRIES):  # after the last recording of a prompt its first one comes again
            wait_for_quiet(QUIET)
            took_again, said_again = asyncio.run(timed(engine.url))
            assert said_again == said
            figures.append(f"batch of {streams}: recorded {took:.3f} s, replayed {took_again:.3f} s")
            if took_again < took * 1.05:
                break
    assert took_again == pytest.approx(took, rel=0.05)


@pytest.mark.long
def test_random_tokens_are_the_same_in_each_run(tmp_path: Path) -> None:
    """By the seed, the prompt and how often it was asked; and each answer is as long as it may be."""
    runs = []
    questions = {str(number): long_story(number % 4) for number in range(8)}
    for number in range(2):
        variables = {"RANDOM_MODE": "1", "REPLAYPROXY_SEED": "7"}
        with mock_engine(tmp_path / str(number), variables) as engine:
            runs.append(asyncio.run(ask_each(engine.url, questions)))
    said = [{name: texts_and_counts(answer) for name, answer in run.items()} for run in runs]
    assert said[0] == said[1]
    assert said[0]["0"] != said[0]["4"]
    assert all(documents(answer)[-1]["choices"][0]["finish_reason"] == "length" for answer in runs[0].values())
