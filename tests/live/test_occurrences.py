"""Equal requests get every recording exactly once, with a crowd in front of the recorder and of the replayer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Request
from tests.live.matrix import chat, completion
from tests.live.server import RealVllm
from tests.processes import recording, replaying
from tests.wire import Answer, connect

DISTINCT, EQUAL, AT_ONCE = 40, 5, 16

Said = dict[str, Counter[tuple[bytes, tuple[int, ...]]]]
"""By key: which bodies were said, in which chunks, and how often."""


def crowd(seed: int) -> list[Request]:
    """200 requests, shuffled: 40 prompts five times each. Temperature 1 and no seed: no two answers are alike."""
    distinct = [
        (chat if number % 2 else completion)(f"{number} things", max_tokens=12 + number % 9, stream=number % 4 < 2)
        for number in range(DISTINCT)
    ]
    requests = distinct * EQUAL
    random.Random(seed).shuffle(requests)
    return requests


async def asked(url: str, requests: list[Request]) -> Said:
    """Ask them 16 at a time, each of the 16 on a connection of its own."""
    waiting = iter(requests)
    matcher = Matcher(MatchRules())
    said: Said = defaultdict(Counter)

    async def one() -> None:
        async with connect(url) as connection:
            for request in waiting:
                answer: Answer = await connection.ask(request)
                assert (answer.status, answer.whole) == (200, True), answer
                said[matcher.key(request)][answer.body, answer.cuts] += 1

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return said


def on(cassette: Path) -> Said:
    """What is on a cassette."""
    said: Said = defaultdict(Counter)
    with CassetteReader(cassette) as opened:
        for row in opened.rows():
            response = opened.response(row["number"])
            cuts = response.cuts if row["stream"] else (len(response.body),)
            said[row["key"]][response.body, cuts] += 1
    return said


def test_each_of_200_recordings_is_used_exactly_once_in_both_directions(vllm: RealVllm, tmp_path: Path) -> None:
    """What clients got while recording = what is on the cassette = what clients get while replaying, key by key, in
    whatever order they ask."""
    cassette = tmp_path / "crowd.cassette"
    with recording(cassette, vllm.url) as proxy:
        recorded = asyncio.run(asked(proxy.url, crowd(1)))
    assert proxy.code == 0, proxy.said
    with replaying(cassette, "--at-end", "refuse") as proxy:
        replayed = asyncio.run(asked(proxy.url, crowd(2)))
    assert proxy.code == 0, proxy.said

    assert sum(count for bodies in recorded.values() for count in bodies.values()) == DISTINCT * EQUAL
    assert {len(bodies) for bodies in recorded.values()} == {EQUAL}, "two of vLLM's answers were alike"
    assert on(cassette) == recorded
    assert replayed == recorded
