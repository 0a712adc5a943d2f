"""Many long answers asked for at once in a real replay process: each client gets its own, byte for byte.

Threads that shared one SQLite connection, or one decompressor, gave 2 to 9 of 192 a 500 or the rows of another answer
on Python 3.12 and 3.13.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from replayproxy.cassette.reader import LONG
from replayproxy.model import Exchange
from tests import fuzz, wire
from tests.apps import run
from tests.processes import replaying
from tests.recordings import JSON, SSE, asked, exchange, record, said

ANSWERS, TIMES = 16, fuzz.cases(4)


def answers() -> list[Exchange]:
    """Half a megabyte each, every second one with short chunks; and a short one behind each."""
    made = []
    for number in range(ANSWERS):
        chance = random.Random(number)
        words = [b"data: %d %b\n\n" % (number, chance.randbytes(500).hex().encode()) for _ in range(520)]
        chunks = words if number % 2 else [b"".join(words)]
        assert sum(map(len, chunks)) > LONG
        made.append(exchange(asked(f"long {number}"), said(chunks, headers=SSE), 2 * number))
        made.append(exchange(asked(f"short {number}"), said([b'{"n":%d}' % number], headers=JSON), 2 * number + 1))
    return made


@pytest.fixture(scope="module")
def cassette(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, with dictionaries."""
    return record(tmp_path_factory.mktemp("long") / "long.cassette", answers())


@pytest.mark.parametrize(
    "flags", [[], ["--speed", "1000"], ["--match-ignore", "$.seed"], ["--allow-incomplete"]], ids=" ".join
)
def test_all_at_once_get_their_own(cassette: Path, flags: list[str]) -> None:
    """At speed max, at a pace, by rules of this run and with places of its own; and again: some are remembered now.

    In between, requests that no recording answers search in other threads, and the admin port lists everything.
    """
    kept = answers()

    async def story(url: str, admin_url: str) -> None:
        async def right(one: Exchange) -> bool:
            got = await wire.ask(url, one.request)
            return (got.status, got.whole, got.body) == (200, True, one.response.body)

        async def missed(number: int) -> bool:
            got = await wire.ask(url, asked(f"long {number} that is not there"))
            return got.status == 404 and got.head.get("x-replayproxy-miss") is not None

        async def listed() -> bool:
            got = await wire.ask(admin_url, wire.get("/report"))
            return got.status == 200 and b'"recordings":32' in got.body

        for _ in range(2):
            long = [right(one) for one in kept[::2] * TIMES]
            others = [*(right(one) for one in kept[1::2]), *map(missed, range(8)), *(listed() for _ in range(4))]
            got = await asyncio.gather(*long, *others)
            assert got.count(False) == 0, [number for number, well in enumerate(got) if not well]

    with replaying(cassette, *flags) as proxy:
        run(asyncio.wait_for(story(proxy.url, proxy.admin_url or ""), 90))
    assert "Traceback" not in proxy.said
    assert proxy.code == 3, proxy.said  # the misses, and nothing damaged
