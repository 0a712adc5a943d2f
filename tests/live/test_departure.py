"""A client that leaves takes its request with it: vLLM stops generating, the exchange is marked, replay refuses it.

How soon is measured twice: by vLLM's own gauges (an idle vLLM updates them within 40 ms of its abort, which is in the
figure, and so is the time of a scrape), and by the socket of a server that does nothing but watch it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic_ns

import orjson
import pytest

from replayproxy.model import Ending, Request
from tests.apps import endings, exchanges, run
from tests.doubles.upstreams import STREAM, Hang, Scripted, Send, Visit, chunk, event, scripted
from tests.live.conftest import Figures
from tests.live.matrix import completion
from tests.live.server import RealVllm, Watch
from tests.processes import recording, replaying
from tests.wire import Connection, ask, connect, post

SOON = 250.0
"""Milliseconds."""

TIMES, ATTEMPTS = 5, 3

LONG = {"max_tokens": 1900, "ignore_eos": True}
"""Ten seconds of vLLM's life, unless it is told to stop."""


async def _hear_some(client: Connection, watch: Watch) -> None:
    """Until the stream flows."""
    await client.head()
    heard = 0
    async for _ in client.frames():
        heard += 1
        if heard == 20:
            return


async def _hear_nothing(client: Connection, watch: Watch) -> None:
    """Until vLLM generates: it answers a request that is not streamed when it has all of it."""
    await watch.until(running=1)


def ahead_of_the_first_byte(number: int) -> Request:
    """A request that is answered in ten seconds."""
    return completion(f"Not yet {number}", **LONG)


def in_mid_stream(number: int) -> Request:
    """A request that is answered for ten seconds."""
    return completion(f"Enough {number}", **LONG, stream=True)


Wait = Callable[[Connection, Watch], Awaitable[None]]


async def leave(upstream: str, url: str, request: Request, wait: Wait) -> float:
    """Ask, wait, hang up. Gives the milliseconds until vLLM says that nobody is there."""
    watch = Watch(upstream)
    await watch.until(running=0)
    async with connect(url) as client:
        client.send(request)
        await wait(client, watch)
        client.close()
        left = monotonic_ns()
    await watch.until(running=0)
    return (monotonic_ns() - left) / 1e6


@pytest.mark.parametrize(
    ("make", "wait"),
    [(ahead_of_the_first_byte, _hear_nothing), (in_mid_stream, _hear_some)],
    ids=["before the first byte", "mid-stream"],
)
def test_vllm_stops_when_the_client_leaves(
    make: Callable[[int], Request], wait: Wait, vllm: RealVllm, tmp_path: Path, figures: Figures
) -> None:
    """`vllm:num_requests_running` falls to 0 within 250 ms, for five clients (each of them asks again, twice at most,
    where others kept the machine busy); every departure is marked. A replay plays what had come by then, and nothing
    where the client left before the head: 404 `incomplete_only`."""
    cassette = tmp_path / "gone.cassette"
    requests: list[Request] = []
    rows: list[list[float]] = []
    with recording(cassette, vllm.url) as proxy:
        for number in range(TIMES):
            rows.append([])
            while len(rows[-1]) < ATTEMPTS and min(rows[-1], default=SOON + 1) > SOON:
                requests.append(make(number * ATTEMPTS + len(rows[-1])))
                rows[-1].append(run(leave(vllm.url, proxy.url, requests[-1], wait)))
    took = "; ".join(spelled(row) for row in rows)
    figures.append(f"departure {make.__name__.replace('_', ' ')}: vLLM idle after {took} ms (<= {SOON:g})")
    assert all(min(row) <= SOON for row in rows)

    kept = exchanges(cassette)
    assert [exchange.response.ending for exchange in kept] == [Ending.CLIENT_LEFT] * len(requests)
    assert all((exchange.response.status, bool(exchange.response.body)) == expected(make) for exchange in kept)
    with replaying(cassette, "--stall", "100ms") as proxy:
        for request, exchange in zip(requests, kept, strict=True):
            again = run(ask(proxy.url, request))
            if make is in_mid_stream:
                assert (again.status, again.body, again.whole) == (200, exchange.response.body, False)
            else:
                assert (again.status, orjson.loads(again.body)["error"]["code"]) == (404, "incomplete_only")
    assert proxy.code == (0 if make is in_mid_stream else 3)


def expected(make: Callable[[int], Request]) -> tuple[int, bool]:
    """Status and whether there is a body, of what was heard until the client left."""
    return (200, True) if make is in_mid_stream else (0, False)


def spelled(took: list[float]) -> str:
    """Milliseconds for people."""
    return ", ".join(f"{one:.0f}" for one in took)


def test_vllm_forgets_a_queued_request_whose_client_leaves(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """Sixteen streams keep vLLM busy, a seventeenth waits: when its client leaves, `vllm:num_requests_waiting` falls to
    0, also while the others go on. Their own departure ends them all within 250 ms."""
    cassette = tmp_path / "queued.cassette"

    async def queue(url: str) -> tuple[float, float]:
        watch = Watch(vllm.url)
        async with AsyncExitStack() as stack:
            await watch.until(running=0)
            running = [await stack.enter_async_context(connect(url)) for _ in range(16)]
            for number, client in enumerate(running):
                client.send(completion(f"Busy {number}", **LONG, stream=True))
            await watch.until(running=16)
            async with connect(url) as late:
                late.send(completion("Too late", **LONG))
                await watch.until(running=16, waiting=1)
            left = monotonic_ns()
            await watch.until(running=16, waiting=0)
            forgotten = monotonic_ns()
            for client in running:
                client.close()
            all_left = monotonic_ns()
            await watch.until(running=0)
            return (forgotten - left) / 1e6, (monotonic_ns() - all_left) / 1e6

    for _ in range(ATTEMPTS):
        cassette.unlink(missing_ok=True)
        with recording(cassette, vllm.url) as proxy:
            try:
                forgotten, ended = run(queue(proxy.url))
            except TimeoutError:  # a machine so busy that streams ended before all of them had begun
                continue
        figures.append(
            f"departure of a queued request: none waits after {forgotten:.0f} ms (<= {SOON:g});"
            f" of 16 running ones: none runs after {ended:.0f} ms"
        )
        assert endings(cassette) == [Ending.CLIENT_LEFT] * 17
        if max(forgotten, ended) <= SOON:
            return
    raise AssertionError(f"vLLM goes on for longer than {SOON:g} ms: {figures[-ATTEMPTS:]}")


@pytest.mark.parametrize("streaming", [False, True], ids=["before the first byte", "mid-stream"])
def test_the_server_s_socket_is_closed_when_the_client_leaves(
    streaming: bool, tmp_path: Path, figures: Figures
) -> None:
    """Without vLLM's own delays: a server that only watches its socket sees it closed within 250 ms, at one of three
    times: others use the machine too."""
    script = (Send(STREAM + chunk(event(1))), Hang()) if streaming else (Hang(),)

    async def leave_once(cassette: Path) -> float:
        async with scripted(*script) as server:
            with recording(cassette, server.url) as proxy:
                async with connect(proxy.url) as client:
                    client.send(post("/v1/chat/completions", {"stream": streaming}))
                    visit = await asked(server)
                    if streaming:
                        await client.head()
                        await anext(client.frames())
                    left = monotonic_ns()
                return (await visit.left - left) / 1e6

    took: list[float] = []
    while len(took) < ATTEMPTS and min(took, default=SOON + 1) > SOON:
        took.append(run(leave_once(tmp_path / f"{len(took)}.cassette")))
    where = "in mid stream" if streaming else "ahead of the first byte"
    figures.append(f"departure {where}: the server's socket closed after {spelled(took)} ms (<= {SOON:g})")
    assert min(took) <= SOON


async def asked(server: Scripted) -> Visit:
    """The connection that brings a request. A recorder that starts makes one without, to see who is there."""
    while True:
        await server.visited.wait()
        server.visited.clear()
        await server.visits[-1].arrived.wait()
        if server.visits[-1].heard:
            return server.visits[-1]
