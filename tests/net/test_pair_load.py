"""Hundreds of requests over two prefills and three decodes, one of which is killed and comes back."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from replayproxy.model import Ending
from replayproxy.net import pair_servers as servers_of_a_kind
from tests import fuzz, wire
from tests.apps import exchanges, pairing, run, running
from tests.doubles.pair_double import Pace, Pair, Server, pair
from tests.doubles.pair_model import CHAT
from tests.pair_questions import answer_to, ask, said

REQUESTS = fuzz.cases(400)
CLIENTS = 16
KILLED, BACK = REQUESTS * 3 // 10, REQUESTS * 6 // 10
"""After so many answers."""

SPREAD = 0.15


@dataclass
class Crowd:
    """Clients that ask until nothing is left, and what they heard."""

    url: str
    at: dict[int, Callable[[], Awaitable[None]]]
    """What is done after so many answers."""
    answered: int = 0
    good: int = 0
    bad: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """All of them."""
        left = iter(range(REQUESTS))
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._client(left))

    async def _client(self, left: Iterator[int]) -> None:
        async with wire.connect(self.url) as connection:
            for number in left:
                request = ask(CHAT, f"question {number}", ("X-Request-Id", f"q-{number}"), stream=number % 2 == 0)
                answer = await connection.ask(request)
                if answer.whole and said(answer.body) == answer_to(request):
                    self.good += 1
                else:
                    self.bad.append(f"q-{number}")
                self.answered += 1
                if (event := self.at.get(self.answered)) is not None:
                    await event()
                if not answer.whole:
                    await self._client(left)  # on a new connection
                    return


@dataclass
class Shares:
    """How many requests each server of a kind got in a stretch."""

    servers: Sequence[Server]
    before: Counter[str] = field(default_factory=Counter)

    def take(self) -> list[int]:
        """Since the last time."""
        now = Counter({server.url: server.counts["requests"] for server in self.servers})
        since = [now[server.url] - self.before[server.url] for server in self.servers]
        self.before = now
        return since


def even(shares: list[int]) -> bool:
    """Nobody has more than 15 % above or below the mean."""
    mean = sum(shares) / len(shares)
    return all(abs(share - mean) <= SPREAD * mean for share in shares)


@pytest.mark.parametrize(
    ("role", "protocol"),
    [("decode", "nixl"), ("prefill", "transfer-id"), ("decode", "transfer-id"), ("prefill", "nixl")][: fuzz.cases(2)],
)
def test_a_server_that_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, role: str
) -> None:
    """No request is lost that had not reached it; the others take its share, and it gets its share again."""
    monkeypatch.setattr(servers_of_a_kind, "OUT", 100_000_000)  # 0.1 s: the whole test lasts two
    cassette = tmp_path / "load.cassette"
    reached: set[str] = set()
    shares: dict[str, list[list[int]]] = {"prefill": [], "decode": []}

    async def dialogue() -> tuple[Crowd, Pair, str]:
        async with (
            pair(protocol, prefills=2, decodes=3, pace=Pace(prefill=0.001, transfer=0.001, token=0.000_5)) as double,
            running(pairing(cassette, double)) as proxy,
        ):
            victim = {"prefill": double.prefills, "decode": double.decodes}[role][1]
            stretches = {"prefill": Shares(double.prefills), "decode": Shares(double.decodes)}

            def stretch_ends() -> None:
                for kind, stretch in stretches.items():
                    shares[kind].append(stretch.take())

            async def kill() -> None:
                done = asyncio.Event()

                def now() -> None:
                    reached.update(f"{visit.get('x-request-id')}" for visit in victim.asked)
                    reached.update(re.findall(r"q-\d+", double.kill(victim).decode()))
                    stretch_ends()
                    done.set()

                # uvloop's timers run before anything is written: what the proxy has sent has come to the server.
                asyncio.get_running_loop().call_later(0.001, now)
                await done.wait()

            async def revive() -> None:
                seen = victim.counts["requests"]
                stretch_ends()
                await double.revive(victim)
                await double.until(lambda: victim.counts["requests"] > seen)
                stretch_ends()  # until it was found to be back

            crowd = Crowd(proxy.url, {KILLED: kill, BACK: revive})
            await crowd.run()
            stretch_ends()
        return crowd, double, victim.url

    crowd, double, url = run(dialogue())
    print(f"{protocol}, {role} killed: {crowd.good} good, {len(crowd.bad)} had reached it; shares {shares}")
    assert crowd.good + len(crowd.bad) == REQUESTS
    assert set(crowd.bad) <= reached
    assert not double.counts["reused"]
    other = "decode" if role == "prefill" else "prefill"
    with_all, without, _, again = shares[role]
    assert even(with_all)
    assert without[1] == 0, without
    assert even(without[:1] + without[2:])
    assert even(again)
    assert even([sum(stretch) for stretch in zip(*shares[other], strict=True)])

    kept = exchanges(cassette)
    assert len(kept) == REQUESTS
    broken = [exchange for exchange in kept if exchange.response.ending is not Ending.COMPLETE]
    assert len(broken) <= len(crowd.bad)
    assert all(url in {leg.upstream for leg in exchange.legs} for exchange in broken)
