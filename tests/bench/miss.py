"""How long a miss takes to explain itself: the nearest of 100 000 recordings, over HTTP, from the request to the whole
answer. Prompts of some 60 words, out of a vocabulary of 1 200, that share a system prompt; each miss is one of them
with another date in it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random
from statistics import median

import orjson

from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Chunks, End, Ending, Head, Request
from replayproxy.ports import ExchangePart
from tests import wire
from tests.apps import replaying, run, running
from tests.bench.conversation import PATH
from tests.bench.report import Verdict, table

RECORDINGS, MISSES = 100_000, 40
BOUND = 50.0
"""Milliseconds."""

SYLLABLES = (
    "ma",
    "ne",
    "lo",
    "tu",
    "si",
    "ra",
    "pe",
    "do",
    "vu",
    "ki",
    "ha",
    "ze",
    "fo",
    "by",
    "ju",
    "ga",
    "te",
    "mi",
    "no",
    "wa",
)
WORDS = [first + second + third for first in ("ba", "ko", "ri") for second in SYLLABLES for third in SYLLABLES]
SYSTEM = "You are a patient guide. " + " ".join(WORDS[:60])


def prompt(number: int, day: int) -> str:
    """Sixty words of their own, and a date."""
    chance = Random(number)
    return f"Today is 2026-11-{day:02}. Question {number}: " + " ".join(chance.choices(WORDS, k=60))


def body(number: int, day: int) -> bytes:
    """A chat."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt(number, day)}]
    return orjson.dumps({"model": "tiny", "messages": messages, "stream": True, "temperature": 0})


def measure(folder: Path) -> list[Verdict]:
    """Print the table."""
    path = folder / "miss.cassette"
    path.unlink(missing_ok=True)
    started = time.monotonic()
    _record(path)
    built = time.monotonic() - started
    chance = Random(1)
    first, *others = run(_misses(path, [chance.randrange(RECORDINGS) for _ in range(MISSES + 1)]))
    rows = [
        ("the first miss, which reads the sketches", f"{first:.1f}"),
        (f"{MISSES} more, median", f"{median(others):.1f}"),
        ("slowest of these", f"{max(others):.1f}"),
    ]
    title = (
        f"A miss among {RECORDINGS:,} recordings ({path.stat().st_size / 2**20:.0f} MiB, written in {built:.0f} s):"
        " milliseconds until it is explained"
    )
    print(table(title, ("miss", "ms"), rows))
    value = median(others)
    return [Verdict("a miss among 100 000 is explained", value, BOUND, unit=" ms")]


def _record(path: Path) -> None:
    keeper = CassetteWriter(path, Matcher(MatchRules()))
    head = Head(1_000_000, 200, (("content-type", "text/event-stream"),))
    for start in range(0, RECORDINGS, 1000):
        keeper.begin()
        for number in range(start, start + 1000):
            request = Request("POST", PATH, (("Content-Type", "application/json"),), body(number, 17))
            said = b'data: {"choices":[{"delta":{"content":"yes"}}]}\n\ndata: [DONE]\n\n'
            chunks = Chunks(said, (len(said),), (2_000_000,))
            keeper.keep(ExchangePart(number + 1, request, number, head, chunks, End(3_000_000, Ending.COMPLETE)))
        keeper.commit()
        keeper.train_when_due()
    keeper.seal()


async def _misses(path: Path, numbers: list[int]) -> list[float]:
    spent = []
    async with running(replaying(path)) as proxy, wire.connect(proxy.url) as client:
        for number in numbers:
            began = time.perf_counter()
            answer = await client.ask(wire.post(PATH, body(number, 20)))
            spent.append((time.perf_counter() - began) * 1000)
            error = orjson.loads(answer.body)["error"]
            if error["param"] != "$.messages[1].content" or f"Question {number}" not in body(number, 20).decode():
                raise RuntimeError(f"not the nearest was found: {error['message']}")
            await asyncio.sleep(0)
        for _, miss, _ in proxy.app.parts.state.misses.causes.values():
            assert miss.nearest is not None
            asked, found = (
                orjson.loads(one.body)["messages"][1] for one in (miss.request, miss.nearest.neighbour.request)
            )
            if asked["content"].partition(":")[2] != found["content"].partition(":")[2]:
                raise RuntimeError("a recording was found that is not the nearest")
    return spent
