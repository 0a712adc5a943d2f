"""SIGKILL takes nothing that was promised: what was written is there, what was in flight is marked, all of it is sound.

Promised is: an exchange that has ended is written 250 ms later; of a stream in flight, what was heard is let go of each
second. On a machine that others use too, the recorder may not get to run for seconds. So the killer strikes when the
recorder says of itself (`replayproxy_recorded_total`, and open rows that a reader sees) that it has kept its promise,
and how long that took is measured.

    recorder ── 12 long streams, 4 after 4 short ones ── promise kept ── SIGKILL ── read ── next recorder ── verify
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic_ns
from typing import Any

import orjson

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.model import Ending, Request, Response
from tests import fuzz
from tests.apps import run
from tests.live.conftest import Figures
from tests.live.matrix import completion
from tests.live.server import RealVllm
from tests.processes import Proxy, recording, replaying, replayproxy
from tests.wire import Connection, Ended, ask, connect, get

KILLS, LONG, SHORT = fuzz.cases(8), 12, 4

SECOND = 1_000_000_000
WRITTEN = SECOND // 4
"""After which an exchange that has ended is written, in ns."""

LET_GO = SECOND + WRITTEN
"""After which what was heard of a stream in flight is written."""

GRACE = SECOND // 4
"""For the writing itself, before the killer asks."""

PATIENCE = 60 * SECOND
"""After which the promise is broken, however busy the machine is."""

MATCHER = Matcher(MatchRules())


@dataclass
class Heard:
    """What a client has of a stream. Times are on the monotonic clock, one for each chunk."""

    request: Request
    chunks: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ended: int | None = None

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    @property
    def key(self) -> str:
        """Where it is on the cassette."""
        return MATCHER.key(self.request)

    def had(self, size: int) -> int:
        """When it had so many bytes."""
        for data, at in zip(self.chunks, self.times, strict=True):
            size -= len(data)
            if size <= 0:
                return at
        raise AssertionError("it never had as much")

    async def listen(self, connection: Connection) -> None:
        """Until the end, or until the recorder is gone."""
        try:
            connection.send(self.request)
            await connection.head()
            async for frame in connection.frames():
                self.chunks.append(frame.data)
                self.times.append(connection.sent_at + frame.at)
            self.ended = monotonic_ns()
        except Ended:
            pass


class Crowd:
    """The clients of one recorder: twelve with a long stream each, four with one short stream after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.heard: list[Heard] = []

    async def talk(self, connections: list[Connection]) -> None:
        """Until the recorder is gone."""
        await asyncio.gather(
            *(self._ask_for_much(connection, place) for place, connection in enumerate(connections[:LONG])),
            *(self._ask_again_and_again(connection, place) for place, connection in enumerate(connections[LONG:])),
        )

    async def _ask_for_much(self, connection: Connection, place: int) -> None:
        await self._ask(connection, f"Long {place} of {self._name}", 1900)

    async def _ask_again_and_again(self, connection: Connection, place: int) -> None:
        number = 0
        while (await self._ask(connection, f"Short {place}, {number} of {self._name}", 8)).ended is not None:
            number += 1

    async def _ask(self, connection: Connection, prompt: str, tokens: int) -> Heard:
        heard = Heard(completion(prompt, max_tokens=tokens, stream=True, ignore_eos=True))
        self.heard.append(heard)
        await heard.listen(connection)
        return heard

    def ended_before(self, moment: int) -> int:
        """How many exchanges had ended then."""
        return sum(heard.ended is not None and heard.ended <= moment for heard in self.heard)

    def in_flight_since(self, moment: int) -> Iterator[Heard]:
        """Those of which something had been heard then, and which go on."""
        return (heard for heard in self.heard if heard.ended is None and heard.times and heard.times[0] <= moment)


async def recorded(admin: Connection) -> int:
    """What the recorder says it has written."""
    said = await admin.ask(get("/metrics"))
    found = re.search(rb"^replayproxy_recorded_total ([0-9.e+]+)$", said.body, re.MULTILINE)
    assert found, said.body
    return int(float(found[1]))


def seen(cassette: Path) -> set[str]:
    """The keys of all rows, as a reader finds them now."""
    with CassetteReader(cassette) as opened:
        return {row["key"] for row in opened.rows()}


async def killed(proxy: Proxy, cassette: Path, after: float) -> tuple[list[Heard], int, set[str], float]:
    """Let the crowd talk, wait for the promise, SIGKILL.

    Gives what was heard, how much the recorder said it had written, what a reader saw, and for how many seconds the
    promise had to be waited for.
    """
    assert proxy.admin_url is not None
    crowd = Crowd(cassette.stem)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(proxy.url)) for _ in range(LONG + SHORT)]
        admin = await stack.enter_async_context(connect(proxy.admin_url))
        talking = asyncio.create_task(crowd.talk(connections))
        await asyncio.sleep(after)
        asked = monotonic_ns()
        must_be_written = crowd.ended_before(asked - WRITTEN - GRACE)
        must_be_open = {heard.key for heard in crowd.in_flight_since(asked - LET_GO - GRACE)}
        while (count := await recorded(admin)) < must_be_written or not (rows := seen(cassette)) >= must_be_open:
            assert monotonic_ns() < asked + PATIENCE, f"{count} of {must_be_written} are written"
            await asyncio.sleep(0.02)
        waited = (monotonic_ns() - asked) / SECOND
        proxy.process.kill()
        await talking
        return crowd.heard, count, rows, waited


def by_key(cassette: Path) -> dict[str, tuple[dict[str, Any], Response | None]]:
    """Rows and, where they are done, answers."""
    with CassetteReader(cassette) as opened:
        assert opened.one("PRAGMA integrity_check")[0] == "ok"
        return {
            row["key"]: (row, opened.response(row["number"]) if row["state"] == "done" else None)
            for row in opened.rows()
        }


def check_the_dead(cassette: Path, heard: list[Heard], count: int, rows: set[str]) -> None:
    """As SIGKILL left it, the cassette opens, and what was said to be written is there, and whole."""
    kept = by_key(cassette)
    assert rows <= kept.keys()
    assert sum(row["ending"] == "complete" for row, _ in kept.values()) >= count
    for one in heard:
        row, response = kept.get(one.key, ({}, None))
        if response is not None and response.ending is Ending.PROXY_CRASHED:  # it was in flight
            assert one.body.startswith(response.body)
        elif response is not None:
            assert response.ending is Ending.COMPLETE
            assert (response.body, response.cuts) == (one.body, tuple(map(len, one.chunks)))
        elif row:
            assert row["state"] == "open"


def check_the_next(cassette: Path, heard: list[Heard], rows: set[str]) -> tuple[int, list[Heard], list[float]]:
    """After the next recorder has opened it, streams in flight are there as far as they were written, and marked.

    Gives how many are complete, which are marked, and by how many seconds of what the client had these fall short.
    """
    kept = by_key(cassette)
    assert rows <= kept.keys()
    marked: list[Heard] = []
    short: list[float] = []
    for one in heard:
        _, response = kept.get(one.key, ({}, None))
        if response is not None and response.ending is not Ending.COMPLETE:
            assert response.ending is Ending.PROXY_CRASHED
            assert response.body
            assert one.body.startswith(response.body)
            marked.append(one)
            short.append((one.times[-1] - one.had(len(response.body))) / SECOND)
    assert len(kept) == sum(one.key in kept for one in heard), "nothing else is there"
    return len(kept) - len(marked), marked, short


def test_sigkill_takes_nothing_that_was_written(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """SIGKILL during 16 streams, 8 times: the cassette opens, every finished exchange is there, streams in flight are
    there up to the last flush and marked, `verify` is clean, and a replay refuses what was marked."""
    chance = random.Random(20)
    streams = complete = 0
    marked: list[tuple[Path, Request]] = []
    fell_short: list[float] = []
    waited: list[float] = []
    for number in range(KILLS):
        cassette = tmp_path / f"{number}.cassette"
        with recording(cassette, vllm.url) as proxy:
            heard, count, rows, late = run(killed(proxy, cassette, chance.uniform(0.4, 2.0)))
        assert sum(one.ended is None for one in heard) == LONG + SHORT, "they were to be in flight"
        check_the_dead(cassette, heard, count, rows)

        with recording(cassette, vllm.url) as proxy:
            pass
        assert proxy.code == 0, proxy.said
        whole, broken, short = check_the_next(cassette, heard, rows)
        verified = replayproxy("verify", cassette)
        assert verified.returncode == 0, verified.stderr

        streams += len(heard)
        complete += whole
        marked += [(cassette, one.request) for one in broken]
        fell_short += short
        waited.append(late)

    missing = streams - complete - len(marked)
    figures.append(
        f"SIGKILL, {KILLS} times amid {LONG + SHORT} streams: of {streams} exchanges {complete} are there whole,"
        f" {len(marked)} marked and short of the client's by {median(fell_short):.2f} s in the median, {missing} had"
        f" begun or ended too late; verify is clean each time; the promise was kept {median(waited):.2f} s after it was"
        f" due in the median, {max(waited):.2f} s at worst"
    )
    assert complete >= KILLS
    assert len(marked) >= KILLS
    assert median(fell_short) <= (LET_GO + GRACE) / SECOND
    cassette, request = marked[-1]
    with replaying(cassette) as proxy:
        refused = run(ask(proxy.url, request))
    assert (refused.status, orjson.loads(refused.body)["error"]["code"]) == (404, "incomplete_only")


def test_an_exchange_that_has_ended_is_written_a_quarter_of_a_second_later(
    vllm: RealVllm, tmp_path: Path, figures: Figures
) -> None:
    """From the client's last byte until the recorder says that it is written: 250 ms and the writing, in the median."""

    async def latencies(proxy: Proxy) -> list[float]:
        assert proxy.admin_url is not None
        took = []
        async with connect(proxy.url) as client, connect(proxy.admin_url) as admin:
            for number in range(1, 12):
                await client.ask(completion(f"Once {number}", max_tokens=2))
                ended = monotonic_ns()
                while await recorded(admin) < number:
                    await asyncio.sleep(0.005)
                took.append((monotonic_ns() - ended) / 1e6)
        return took

    with recording(tmp_path / "written.cassette", vllm.url) as proxy:
        took = sorted(run(latencies(proxy)))
    figures.append(
        f"written {median(took):.0f} ms after the end in the median (<= 250 and the writing), {took[-1]:.0f} at most"
    )
    assert median(took) <= (WRITTEN + GRACE) / 1e6
