"""The HTTP client of the JDK, which offers an upgrade to h2c with every request: an ordinary client, in every mode.

Needs a JDK (11 or newer); what it puts on the wire is tried without one in `test_smuggling`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from replayproxy.core.policy import Mode
from replayproxy.settings import Settings
from replayproxy.simulator.options import Simulation
from tests.apps import exchanges, pairing, recording, replaying, run, running
from tests.doubles.pair_double import pair
from tests.doubles.pair_model import MODEL
from tests.net.test_smuggling import judging

SOURCES = Path(__file__).parent / "java"
BODY = b'{"model":"m","messages":[]}'

SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""A JVM that lives a second needs neither its second compiler nor the threads of its collector."""

pytestmark = pytest.mark.skipif(
    shutil.which("javac") is None,
    reason="no javac on PATH: with a JDK its HTTP client is tried too (Debian: default-jdk-headless)",
)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled client is."""
    folder = tmp_path_factory.mktemp("classes")
    compiler = ["javac", *(f"-J{option}" for option in SHORT_LIVED)]
    subprocess.run([*compiler, "-d", folder, *SOURCES.glob("*.java")], check=True, capture_output=True, timeout=100)
    return folder


async def java(classes: Path, url: str, *more: str, program: str = "Chat") -> list[str]:
    """What the client prints: of `Chat` status and body of each of its three requests."""
    process = await asyncio.create_subprocess_exec(
        *("java", *SHORT_LIVED, "-cp", str(classes), program, url, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
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
            assert not proxy.app.parts.state.misses.causes

    run(dialogue())
    assert [exchange.request.body for exchange in exchanges(cassette)] == [BODY, BODY, b""]


def test_java_is_answered_by_the_simulator(classes: Path) -> None:
    """200 with words."""

    async def dialogue() -> None:
        async with running(Settings(Mode.SIMULATE, simulation=Simulation(model="m"))) as proxy:
            said = await java(classes, f"{proxy.url}/v1/chat/completions", "m")
            assert [line.partition(" ")[0] for line in said[:2]] == ["200", "200"]
            assert "chat.completion" in said[0]

    run(dialogue())


def test_java_hears_streams_recorded_and_replayed(classes: Path, tmp_path: Path) -> None:
    """Four at once and four more: every line, live and again."""
    cassette = tmp_path / "a.cassette"
    path = "/v1/chat/completions"

    async def dialogue() -> None:
        async with (
            running(Settings(Mode.SIMULATE, simulation=Simulation(model="m"))) as server,
            running(recording(cassette, server.url)) as proxy,
        ):
            live = await java(classes, proxy.url + path, program="Streams")
        async with running(replaying(cassette)) as proxy:
            again = await java(classes, proxy.url + path, program="Streams")
            assert not proxy.app.parts.state.misses.causes
        assert len(live) == 8
        assert all(line.startswith("200 data: {") and line.endswith("data: [DONE]|") for line in live), live
        assert again == live

    run(dialogue())
    assert len(exchanges(cassette)) == 8


def test_java_under_exec(classes: Path, tmp_path: Path) -> None:
    """With the address that `exec` gives it; every recording is asked for, and the run is green."""
    cassette = tmp_path / "a.cassette"

    async def record() -> None:
        async with judging() as judge, running(recording(cassette, judge.url)) as proxy:
            assert await java(classes, f"{proxy.url}/v1/chat/completions") == ["200 ok"] * 3

    run(record())
    program = f'java {" ".join(SHORT_LIVED)} -cp "{classes}" Chat "$OPENAI_BASE_URL/chat/completions"'
    words = [sys.executable, "-m", "replayproxy", "exec", str(cassette), "--fail-unused", "--", "sh", "-c", program]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["200 ok"] * 3), ran.stderr
    assert "3 answers from recordings, no misses" in ran.stderr


@pytest.mark.parametrize("protocol", ["nixl", "plain"])
def test_java_before_a_pair(classes: Path, tmp_path: Path, protocol: str) -> None:
    """Both POSTs are split, the GET goes to the decode server; replayed without them."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> None:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            live = await java(classes, f"{proxy.url}/v1/chat/completions", MODEL)
            assert [line[:3] for line in live[:2]] == ["200", "200"]
            assert double.prefill.counts["requests"] == double.decode.counts["requests"] == 2
        async with running(replaying(cassette)) as proxy:
            assert await java(classes, f"{proxy.url}/v1/chat/completions", MODEL) == live

    run(dialogue())
    assert [len(exchange.legs) for exchange in exchanges(cassette)] == [2, 2, len(exchanges(cassette)[2].legs)]


def frame(text: bytes) -> bytes:
    """A text frame of a server (RFC 6455 5.2)."""
    return bytes((0x81, len(text))) + text


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A WebSocket server that speaks first, with its 101, and says once what it hears."""
    asked = await reader.readuntil(b"\r\n\r\n")
    (key,) = (line[18:].strip() for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame(b"hello"))
    begin = await reader.readexactly(6)
    masked = await reader.readexactly(begin[1] & 0x7F)
    writer.write(frame(bytes(byte ^ begin[2 + at % 4] for at, byte in enumerate(masked))))
    await reader.read(-1)
    writer.close()


def test_java_speaks_websocket_through_the_proxy(classes: Path, tmp_path: Path) -> None:
    """With a live server; in replay it is refused."""

    async def dialogue() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with running(recording(tmp_path / "a.cassette", f"http://127.0.0.1:{port}")) as proxy:
                url = proxy.url.replace("http", "ws") + "/v1/realtime"
                assert await java(classes, url, program="Socket") == ["hello", "and you"]
        async with running(replaying(tmp_path / "a.cassette")) as proxy:
            (said,) = await java(classes, proxy.url.replace("http", "ws") + "/v1/realtime", program="Socket")
            assert said.startswith("refused: java.net.http.WebSocketHandshakeException")

    run(dialogue())
