"""SIGKILL takes nothing that was promised: what was flushed is there, what was in flight is marked, nothing is damaged.

Promised is: an exchange that has ended is written 250 ms later at the latest; of one in flight, what was heard is let
go of every second. The writing itself takes what the disk takes: 20 ms here, half a second while others sync, so three
quarters are granted.

    recorder ── 12 long streams, 4 after 4 short ones ── SIGKILL ── read ── next recorder ── verify
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any

import orjson

from replayproxy.cassette.cassette import Cassette
from replayproxy.core.matching import Matcher, Rules
from replayproxy.model import Ending, Request, Response
from tests.apps import run
from tests.live.conftest import Figures
from tests.live.matrix import completion
from tests.live.server import RealVllm
from tests.processes import Proxy, recording, replaying, replayproxy
from tests.wire import Connection, Ended, ask, connect

KILLS, STREAMS, SHORT = 20, 16, 4

WRITING = 0.75
COMMITTED = 0.25 + WRITING
"""Seconds after its end at which an exchange must be on the cassette."""

LET_GO = 1.0 + COMMITTED
"""Seconds after which a chunk of a stream in flight must be."""

MATCHER = Matcher(Rules())


@dataclass(frozen=True)
class Heard:
    """What a client had of a stream when the recorder was killed. `times` are absolute, one for each chunk."""

    request: Request
    chunks: tuple[bytes, ...]
    times: tuple[int, ...]
    ended: int | None

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)

    def body_at(self, moment: int) -> bytes:
        """What it had by then."""
        return b"".join(data for data, at in zip(self.chunks, self.times, strict=True) if at <= moment)


async def hear(connection: Connection, request: Request) -> Heard:
    """Listen until the end, or until the recorder is gone."""
    connection.send(request)
    try:
        answer = await connection.answer()
    except Ended:
        return Heard(request, (), (), None)
    frames = answer.frames if answer.whole else answer.frames[: len(answer.frames) - bool(answer.ending)]
    times = tuple(connection.sent_at + frame.at for frame in frames)
    return Heard(
        request, tuple(frame.data for frame in frames), times, connection.sent_at + answer.end if answer.whole else None
    )


async def killed(proxy: Proxy, name: str, chance: random.Random) -> tuple[int, list[Heard]]:
    """Twelve long streams, and four connections with one short stream after another; SIGKILL amid all of them.

    Gives when that was, and what had been heard.
    """

    async def short_ones(connection: Connection, place: int) -> list[Heard]:
        heard: list[Heard] = []
        while not heard or heard[-1].ended is not None:
            prompt = f"Short {place}, {len(heard)} of {name}"
            heard.append(await hear(connection, completion(prompt, max_tokens=8, stream=True, ignore_eos=True)))
        return heard

    async def long_one(connection: Connection, place: int) -> list[Heard]:
        prompt = f"Long {place} of {name}"
        return [await hear(connection, completion(prompt, max_tokens=1900, stream=True, ignore_eos=True))]

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(proxy.url)) for _ in range(STREAMS)]
        hearing = asyncio.gather(
            *(long_one(connection, place) for place, connection in enumerate(connections[SHORT:])),
            *(short_ones(connection, place) for place, connection in enumerate(connections[:SHORT])),
        )
        await asyncio.sleep(chance.uniform(0.4, 2.4))
        moment = monotonic_ns()
        proxy.process.kill()
        return moment, [one for heard in await hearing for one in heard]


def by_key(cassette: Path) -> dict[str, tuple[dict[str, Any], Response | None]]:
    """Rows and, where they are done, answers."""
    with Cassette(cassette) as opened:
        assert opened.one("PRAGMA integrity_check")[0] == "ok"
        return {
            row["key"]: (row, opened.response(row["id"]) if row["state"] == "done" else None) for row in opened.rows()
        }


def check_the_dead(cassette: Path, moment: int, heard: list[Heard]) -> None:
    """The cassette as SIGKILL left it: it opens, and every exchange that had ended is there whole."""
    kept = by_key(cassette)
    for one in heard:
        row, response = kept.get(MATCHER.key(one.request), ({}, None))
        if one.ended is not None and one.ended < moment - COMMITTED * 1e9:
            assert row, f"an exchange that ended {(moment - one.ended) / 1e6:.0f} ms before is not there"
        if response is not None:
            assert response.ending is Ending.COMPLETE
            assert (response.body, response.cuts) == (one.body, tuple(map(len, one.chunks)))
        elif row:
            assert row["state"] == "open"


def check_the_next(cassette: Path, moment: int, heard: list[Heard]) -> tuple[int, list[Request]]:
    """After the next recorder has opened it: streams in flight are there up to the last flush, and marked.

    Gives how many are complete, and which are marked.
    """
    kept = by_key(cassette)
    marked: list[Request] = []
    for one in heard:
        _, response = kept.get(MATCHER.key(one.request), ({}, None))
        must = one.body_at(moment - round(LET_GO * 1e9)) if one.ended is None else b""
        if response is None:
            assert not must, f"{len(must)} bytes of a stream in flight are not there"
            continue
        if one.ended is None or response.ending is not Ending.COMPLETE:
            marked.append(one.request)
            assert response.ending is Ending.PROXY_CRASHED
            assert response.body.startswith(must)
            assert one.body.startswith(response.body)
    return len(kept) - len(marked), marked


def test_sigkill_takes_nothing_that_was_flushed(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """SIGKILL during 16 streams, 20 times: the cassette opens, every finished exchange is there, streams in flight are
    there up to the last flush and marked, `verify` is clean, and a replay refuses what was marked."""
    chance = random.Random(20)
    streams = complete = 0
    marked: list[tuple[Path, Request]] = []
    for number in range(KILLS):
        cassette = tmp_path / f"{number}.cassette"
        with recording(cassette, vllm.url) as proxy:
            moment, heard = run(killed(proxy, cassette.stem, chance))
        assert sum(one.ended is None for one in heard) == STREAMS, "they were to be in flight"
        check_the_dead(cassette, moment, heard)

        with recording(cassette, vllm.url) as proxy:
            pass
        assert proxy.code == 0, proxy.said
        whole, broken = check_the_next(cassette, moment, heard)
        verified = replayproxy("verify", cassette)
        assert verified.returncode == 0, verified.stderr

        streams += len(heard)
        complete += whole
        marked += [(cassette, request) for request in broken]

    late = streams - complete - len(marked)
    figures.append(
        f"SIGKILL, {KILLS} times amid {STREAMS} streams: of {streams} exchanges {complete} are there whole, {len(marked)}"
        f" up to the last flush and marked, {late} had begun too late for one; verify is clean {KILLS} times"
    )
    assert complete >= KILLS
    assert len(marked) >= KILLS
    cassette, request = marked[-1]
    with replaying(cassette) as proxy:
        refused = run(ask(proxy.url, request))
    assert (refused.status, orjson.loads(refused.body)["error"]["code"]) == (404, "incomplete_only")
