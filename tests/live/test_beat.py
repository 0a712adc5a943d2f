"""The beat of real streams: at `--speed 1` every chunk comes when it came, at `--speed max` nobody waits.

A machine that others use at the same time shows its own gaps in any figure. So the measurement waits for quiet moments,
and the whole of it (record, replay at 1, replay at max, each by a new process) is made up to three times; the first
that keeps all bounds counts, else the last.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import monotonic_ns

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.stats import percentile
from replayproxy.model import Request, Timeline
from tests.apps import run
from tests.live.conftest import Figures
from tests.live.machine import QUIET, wait_for_quiet
from tests.live.matrix import completion
from tests.live.server import RealVllm
from tests.processes import recording, replaying
from tests.wire import Answer, Connection, connect

STREAMS, TOKENS = 16, 200
ATTEMPTS = 3

LATE = 5.0
"""Milliseconds that a chunk may be off at the 99th percentile."""

DRIFT = 2.0
"""Milliseconds between a stream's typical error in its first third and in its last."""

PATIENCE = 15.0
"""Seconds to wait for a quiet moment, each time."""

BUSY = 10
"""How many times larger every bound is where no moment was quiet: the figures are then those of the neighbours."""

FASTER = 20.0


@dataclass(frozen=True)
class Beat:
    """One measurement. Errors are the client's offset of each chunk less the one on the cassette, in ms, by stream."""

    errors: list[list[float]]
    recorded_s: float
    at_one_s: float
    at_max_s: float
    busy: float
    """How much of the machine others used just before, 0 to 1."""

    @property
    def p99(self) -> float:
        """How far off all but one in a hundred chunks are at most."""
        return percentile(sorted(abs(error) for stream in self.errors for error in stream), 99)

    @property
    def drift(self) -> float:
        """The largest change of the typical error over a stream."""
        third = TOKENS // 3
        return max(abs(median(stream[-third:]) - median(stream[:third])) for stream in self.errors)

    @property
    def faster(self) -> float:
        """How much sooner `max` is done."""
        return self.at_one_s / self.at_max_s

    @property
    def kept(self) -> bool:
        """All bounds at once."""
        return self.p99 <= LATE and self.drift <= DRIFT and self.faster >= FASTER

    @property
    def tolerance(self) -> int:
        """What the bounds are multiplied by."""
        return BUSY if self.busy > QUIET else 1

    def __str__(self) -> str:
        middle = median(error for stream in self.errors for error in stream)
        chunks = sum(map(len, self.errors))
        return (
            f"{STREAMS} streams, {chunks} chunks in {self.recorded_s:.2f} s: off by {middle:+.2f} ms typically, "
            f"{self.p99:.2f} ms at p99 (<= {LATE:g}), drift {self.drift:.2f} ms (<= {DRIFT:g}), "
            f"--speed max {self.faster:.0f} times faster (>= {FASTER:g}); others used {self.busy:.0%} of the machine"
        )


async def asked(url: str, requests: list[Request], *, whole: bool) -> tuple[float, list[Answer | bytes]]:
    """Send all at the same moment, over connections that are there already; gives the seconds until all were done.

    `whole`: take each answer apart into its chunks; else only its bytes, at the least cost to the machine.
    """

    async def bytes_of(connection: Connection, request: Request) -> bytes:
        connection.send(replace(request, headers=(*request.headers, ("Connection", "close"))))
        return (await connection.rest())[0]

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connect(url)) for _ in requests]
        pairs = list(zip(connections, requests, strict=True))
        started = monotonic_ns()
        if whole:
            said = list[Answer | bytes](await asyncio.gather(*(c.ask(request) for c, request in pairs)))
        else:
            said = list[Answer | bytes](await asyncio.gather(*(bytes_of(c, request) for c, request in pairs)))
        return (monotonic_ns() - started) / 1e9, said


def measured(upstream: str, cassette: Path) -> Beat:
    """Record, replay at 1, replay at max."""
    requests = [
        completion(f"{number} stories", max_tokens=TOKENS, stream=True, ignore_eos=True) for number in range(STREAMS)
    ]
    busy = [wait_for_quiet(PATIENCE)]
    with recording(cassette, upstream) as proxy:
        recorded_s, _ = run(asked(proxy.url, requests, whole=False))
    busy.append(wait_for_quiet(PATIENCE))
    with replaying(cassette, "--speed", "1") as proxy:
        at_one_s, answers = run(asked(proxy.url, requests, whole=True))
    with replaying(cassette) as proxy:
        at_max_s, bodies = run(asked(proxy.url, requests, whole=False))

    recorded = timelines(cassette)
    matcher = Matcher(MatchRules())
    errors = []
    for request, answer, body in zip(requests, answers, bodies, strict=True):
        assert isinstance(answer, Answer)
        assert isinstance(body, bytes)
        assert answer.whole
        assert body.endswith(b"\r\n0\r\n\r\n")
        due = recorded[matcher.key(request)].chunks
        errors.append([(frame.at - at) / 1e6 for frame, at in zip(answer.frames, due, strict=True)])
    return Beat(errors, recorded_s, at_one_s, at_max_s, max(busy))


def timelines(cassette: Path) -> dict[str, Timeline]:
    """The times on a cassette, by key."""
    with CassetteReader(cassette) as opened:
        return {row["key"]: opened.response(row["number"]).timeline for row in opened.rows()}


@pytest.fixture(scope="module")
def beat(vllm: RealVllm, tmp_path_factory: pytest.TempPathFactory, figures: Figures) -> Beat:
    """The measurement that counts."""
    folder = tmp_path_factory.mktemp("beat")
    for attempt in range(ATTEMPTS):
        beat = measured(vllm.url, folder / f"{attempt}.cassette")
        figures.append(f"beat: {beat}")
        if beat.kept or attempt == ATTEMPTS - 1:
            return beat
    raise AssertionError("unreachable")


def test_every_chunk_comes_when_it_came(beat: Beat) -> None:
    """With 16 streams at once, each chunk's offset from its request is within 5 ms of the recorded one at p99."""
    assert beat.p99 <= LATE * beat.tolerance, str(beat)


def test_errors_do_not_add_up(beat: Beat) -> None:
    """A stream is as punctual at its end as at its beginning."""
    assert beat.drift <= DRIFT * beat.tolerance, str(beat)


def test_speed_max_does_not_wait(beat: Beat) -> None:
    """The same cassette, the same requests: at least 20 times sooner."""
    assert beat.faster >= FASTER / beat.tolerance, str(beat)
