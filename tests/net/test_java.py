"""The HTTP client of the JDK, which offers an upgrade to h2c with every request: an ordinary client, in every mode.

Needs a JDK (11 or newer); what it puts on the wire is tried without one in `test_smuggling`.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.settings import Settings, Simulation
from tests.apps import exchanges, recording, replaying, run, running
from tests.net.test_smuggling import judging

CHAT = Path(__file__).parent / "java" / "Chat.java"
BODY = b'{"model":"m","messages":[]}'

pytestmark = pytest.mark.skipif(shutil.which("javac") is None, reason="there is no JDK on this machine")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled client is."""
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-d", folder, CHAT], check=True, capture_output=True, timeout=100)
    return folder


async def java(classes: Path, url: str) -> list[str]:
    """What the client prints: status and body of each of its three requests."""
    process = await asyncio.create_subprocess_exec(
        "java", "-cp", str(classes), "Chat", url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return said.decode().splitlines()


def test_java_is_recorded_and_replayed(classes: Path, tmp_path: Path) -> None:
    """By length, in chunks, without a body: three requests at the server, three recordings, three replayed answers."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with judging() as judge:
            async with running(recording(cassette, judge.url)) as proxy:
                assert await java(classes, f"{proxy.url}/v1/chat/completions") == ["200 ok"] * 3
            path = "/v1/chat/completions"
            assert judge.requests == [("POST", path, BODY), ("POST", path, BODY), ("GET", path, b"")]
            assert judge.errors == []
        async with running(replaying(cassette)) as proxy:
            assert await java(classes, f"{proxy.url}/v1/chat/completions") == ["200 ok"] * 3
            assert not proxy.app.misses.causes

    run(dialogue())
    assert [exchange.request.body for exchange in exchanges(cassette)] == [BODY, BODY, b""]


def test_java_is_answered_by_the_simulator(classes: Path) -> None:
    """200 with words."""

    async def dialogue() -> None:
        async with running(Settings(Mode.SIMULATE, simulation=Simulation(model="m"))) as proxy:
            said = await java(classes, f"{proxy.url}/v1/chat/completions")
            assert [line.partition(" ")[0] for line in said[:2]] == ["200", "200"]
            assert "chat.completion" in said[0]

    run(dialogue())
