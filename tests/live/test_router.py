"""A real router, vllm-router from the registry, between recorders: the pair behind it is the tests' double.

    clients ──▶ recorder ──▶ vllm-router ──▶ recorder ──▶ prefill
                                        └──▶ recorder ──▶ decode

What is joined plays to the router's own clients, and, as far as the servers' side goes, to what the clients ask where
defaults count as none. It is `live` because the router comes from a registry: 29 packages, 60 MB, once.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.join import join
from replayproxy.core.identity.rules import MatchRules
from replayproxy.model import Request
from tests import wire
from tests.apps import exchanges, recording, replaying, run, running
from tests.doubles.pair_double import pair
from tests.doubles.pair_model import CHAT
from tests.live.registries import site_packages
from tests.pair_questions import answer_to, ask, said

REQUIREMENTS = Path(__file__).with_name("vllm-router.txt")
START_PATIENCE = 60.0
"""Seconds until the router has found both servers healthy."""

TEXT = "/v1/completions"
REQUESTS = [
    ask(path, f"question {number}", stream=stream)
    for path in (CHAT, TEXT)
    for stream in (False, True)
    for number in range(6)
]


@dataclass(frozen=True, slots=True)
class Taps:
    """The cassettes of the three recorders, and what the clients got."""

    front: Path
    prefill: Path
    decode: Path
    live: Sequence[wire.Answer]


@asynccontextmanager
async def router(prefill: str, decode: str, log: Path) -> AsyncIterator[str]:
    """vllm-router in front of these two servers. Raises `AssertionError` with its last words."""
    ports = []
    for _ in range(2):
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            ports.append(str(chosen.getsockname()[1]))
    packages = site_packages("vllm-router", REQUIREMENTS)
    command = ("-c", "from vllm_router.launch_router import main; main()", "--host", "127.0.0.1", "--port", ports[0])
    flags = ("--vllm-pd-disaggregation", "--prefill", prefill, "--decode", decode, "--prometheus-port", ports[1])
    with log.open("wb") as words:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, *flags, "--policy", "round_robin", "--worker-startup-check-interval", "1"),
            stdout=words,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(packages)},
        )
    url = f"http://127.0.0.1:{ports[0]}"
    try:
        async with asyncio.timeout(START_PATIENCE):
            while not await _is_ready(url):
                assert process.returncode is None, log.read_text(errors="replace")[-3000:]
                await asyncio.sleep(0.2)
        yield url
    except TimeoutError as error:
        raise AssertionError(f"vllm-router did not start:\n{log.read_text(errors='replace')[-3000:]}") from error
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_ready(url: str) -> bool:
    with suppress(OSError):
        return (await wire.ask(url, wire.get("/health"))).status == 200
    return False


@pytest.fixture(scope="module")
def taps(tmp_path_factory: pytest.TempPathFactory) -> Taps:
    """24 requests, six at a time, through all of it."""
    folder = tmp_path_factory.mktemp("router")
    front, prefill, decode = (folder / f"{name}.cassette" for name in ("front", "prefill", "decode"))

    async def record() -> list[wire.Answer]:
        async with (
            pair("nixl") as double,
            running(recording(prefill, double.prefill.url)) as first,
            running(recording(decode, double.decode.url)) as second,
            router(first.url, second.url, folder / "log") as routed,
            running(recording(front, routed)) as clients,
        ):
            return [
                answer
                for start in range(0, len(REQUESTS), 6)
                for answer in await asyncio.gather(
                    *(wire.ask(clients.url, request) for request in REQUESTS[start : start + 6])
                )
            ]

    return Taps(front, prefill, decode, run(record()))


async def _replayed(cassette: Path, requests: Sequence[Request], rules: MatchRules | None = None) -> list[wire.Answer]:
    async with running(replaying(cassette, match=rules)) as proxy:
        return [await wire.ask(proxy.url, request) for request in requests]


def test_the_clients_of_a_router_get_what_they_had_got(taps: Taps, tmp_path: Path) -> None:
    """Their requests, as they make them; each exchange with both legs as the servers heard and answered them."""
    out = tmp_path / "joined.cassette"
    assert [said(answer.body) for answer in taps.live] == [answer_to(request) for request in REQUESTS]
    joined = join(out, taps.prefill, taps.decode, taps.front)
    assert (joined.pairs, joined.left, joined.unseen) == (len(REQUESTS), 0, 0)
    assert verify(out)[1] == []
    assert all([leg.role for leg in one.legs] == ["prefill", "decode"] for one in exchanges(out) if one.legs)
    again = run(_replayed(out, REQUESTS))
    assert [(answer.status, answer.body) for answer in again] == [(answer.status, answer.body) for answer in taps.live]


def test_without_a_front_defaults_count_as_none(taps: Taps, tmp_path: Path) -> None:
    """The router adds up to ten fields: each request misses, but for those whose defaults are as good as none."""
    out = tmp_path / "joined.cassette"
    joined = join(out, taps.prefill, taps.decode)
    assert (joined.pairs, joined.left) == (len(REQUESTS), 0)
    assert {answer.status for answer in run(_replayed(out, REQUESTS))} == {404}
    again = run(_replayed(out, REQUESTS, MatchRules(defaults=True)))
    assert [said(answer.body) for answer in again] == [answer_to(request) for request in REQUESTS]
