"""A real prefill/decode pair, driven and recorded: the cache is really handed over, and a replay needs no pair."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.model import Ending, Request
from tests import wire
from tests.live.conftest import Figures
from tests.live.server import EXAMPLE, RealVllm, install
from tests.processes import Proxy, replaying, running

WORDS = "the river and the stone keep their counsel while the evening opens a quiet road to the hidden garden"


def chat(number: int, *, stream: bool, tokens: int = 24) -> Request:
    """A chat that differs by its number; greedy, so that its text is known."""
    content = f"{number}: tell me more of how {WORDS}"
    body: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": content}], "stream": stream}
    return wire.post("/v1/chat/completions", body | {"temperature": 0, "max_tokens": tokens})


def completion(number: int, *, stream: bool) -> Request:
    """A completion, likewise."""
    body = {"model": "tiny", "prompt": f"{number}: {WORDS}", "stream": stream, "temperature": 0, "max_tokens": 24}
    return wire.post("/v1/completions", body)


QUESTIONS = [
    *(chat(number, stream=number % 2 == 0) for number in range(4)),
    *(completion(number, stream=number % 2 == 0) for number in range(4)),
]


def text_of(answer: wire.Answer) -> str:
    """What the model said, streamed or not."""
    said = []
    for line in answer.body.splitlines():
        data = line.removeprefix(b"data: ")
        if not data.startswith(b"{"):
            continue
        for choice in orjson.loads(data)["choices"]:
            part = choice.get("delta") or choice.get("message") or {}
            said.append(choice.get("text") or part.get("content") or "")
    return "".join(said)


def metric(url: str, name: str) -> float:
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"{url}/metrics") as response:
        found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", response.read().decode(), re.MULTILINE)
    return sum(map(float, found))


@dataclass
class Pair:
    """Two real servers."""

    prefill: str
    decode: str
    processes: RealVllm


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Started here, unless REPLAYPROXY_LIVE_PREFILL and REPLAYPROXY_LIVE_DECODE name a pair that runs."""
    prefill, decode = (os.environ.get(f"REPLAYPROXY_LIVE_{role}") for role in ("PREFILL", "DECODE"))
    if prefill and decode:
        yield Pair(prefill, decode, RealVllm.at(decode))
        return
    install()
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    servers = RealVllm.start(EXAMPLE / "serve-pair", tmp_path_factory.mktemp("pair") / "log", more=(str(port),))
    try:
        RealVllm.at(f"http://127.0.0.1:{port}").wait_until_healthy()
        yield Pair(servers.url, f"http://127.0.0.1:{port}", servers)
    finally:
        servers.stop()


def recording(cassette: Path, pair: Pair) -> Any:
    """A recorder that drives the pair."""
    urls = ("--prefill", pair.prefill, "--decode", pair.decode)
    return running("record", cassette, *urls, "--port", "0", "--admin-port", "0")


async def _each(url: str, questions: list[Request], at_once: int = 1) -> list[wire.Answer]:
    gate = asyncio.Semaphore(at_once)

    async def one(question: Request) -> wire.Answer:
        async with gate:
            return await wire.ask(url, question)

    return list(await asyncio.gather(*(one(question) for question in questions)))


def test_a_pair_says_what_one_server_says_and_hands_every_cache_over(
    pair: Pair, tmp_path: Path, figures: Figures
) -> None:
    """Text as of the decode server alone at temperature 0; one NIXL transfer a request; both legs on the cassette;
    replayed byte for byte."""
    cassette = tmp_path / "pair.cassette"
    alone = [text_of(answer) for answer in asyncio.run(_each(pair.decode, QUESTIONS))]
    before = metric(pair.decode, "vllm:nixl_xfer_time_seconds_count")
    with recording(cassette, pair) as proxy:
        live = asyncio.run(_each(proxy.url, QUESTIONS))
    handed_over = metric(pair.decode, "vllm:nixl_xfer_time_seconds_count") - before
    assert [answer.status for answer in live] == [200] * len(QUESTIONS)
    assert [text_of(answer) for answer in live] == alone
    assert handed_over == len(QUESTIONS)
    with CassetteReader(cassette) as opened:
        for row in opened.rows():
            exchange = opened.exchange(row["number"])
            assert [leg.role for leg in exchange.legs] == ["prefill", "decode"]
            first, second = exchange.legs
            assert orjson.loads(first.request.body)["max_tokens"] == 1
            ticket = orjson.loads(first.response.body)["kv_transfer_params"]
            assert orjson.loads(second.request.body)["kv_transfer_params"] == ticket
            assert second.started >= first.started + first.response.timeline.end
    with replaying(cassette) as proxy:
        again = asyncio.run(_each(proxy.url, QUESTIONS))
    assert [(answer.status, answer.body, answer.cuts) for answer in again] == [
        (answer.status, answer.body, answer.cuts) for answer in live
    ]
    figures.append(f"pair: {len(QUESTIONS)} requests, {handed_over:g} caches handed over, replay identical")


def test_a_hundred_requests_eight_at_a_time(pair: Pair, tmp_path: Path, figures: Figures) -> None:
    """No error, one transfer each."""
    questions = [chat(1000 + number, stream=True, tokens=12) for number in range(100)]
    before = metric(pair.decode, "vllm:nixl_xfer_time_seconds_count")
    cassette = tmp_path / "hundred.cassette"
    with recording(cassette, pair) as proxy:
        answers = asyncio.run(_each(proxy.url, questions, at_once=8))
    assert {(answer.status, answer.whole) for answer in answers} == {(200, True)}
    handed_over = metric(pair.decode, "vllm:nixl_xfer_time_seconds_count") - before
    assert handed_over == 100
    figures.append(f"pair: 100 requests 8 at a time, 0 errors, {handed_over:g} caches handed over")


def test_a_client_that_leaves_in_mid_decode_frees_both(pair: Pair, tmp_path: Path, figures: Figures) -> None:
    """Both servers are idle within a second, at one of three times; the exchange is marked."""

    async def leave(proxy: Proxy) -> float:
        loop = asyncio.get_running_loop()
        async with wire.connect(proxy.url) as connection:
            connection.send(chat(5000, stream=True, tokens=1500))
            await connection.head()
            frames = connection.frames()
            for _ in range(5):
                await anext(frames)
        left = loop.time()
        async with asyncio.timeout(5):
            while await _running(pair.prefill) + await _running(pair.decode):
                await asyncio.sleep(0.02)  # vLLM tells nobody when it becomes idle
        return loop.time() - left

    idle_after: list[float] = []
    while len(idle_after) < 3 and min(idle_after, default=1) >= 1:
        cassette = tmp_path / f"left-{len(idle_after)}.cassette"
        with recording(cassette, pair) as proxy:
            idle_after.append(asyncio.run(leave(proxy)))
        with CassetteReader(cassette) as opened:
            (row,) = opened.rows()
            assert opened.exchange(row["number"]).response.ending is Ending.CLIENT_LEFT
    figures.append(f"pair: both servers idle {min(idle_after) * 1000:.0f} ms after the client left")
    assert min(idle_after) < 1


async def _running(url: str) -> float:
    return await asyncio.to_thread(metric, url, "vllm:num_requests_running")
