"""A replay behind UIs, load generators, health checks and browsers: what nobody recorded, and is known all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.cors import AllowedOrigins
from replayproxy.core.headers import get
from replayproxy.model import Request
from replayproxy.settings import Listen, Pair, RecordingSettings, Replaying
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import answer
from tests.processes import replayproxy
from tests.wire import ask, post

PAGE = "http://localhost:3000"
CHAT = post("/v1/chat/completions", {"model": "tiny", "messages": []})
OK = answer("200 OK", b'{"choices":[]}', b"Access-Control-Allow-Origin: " + PAGE.encode())
KEY = "sk-proj-" + "Zk3aB7x" * 6

SERVER = {
    "GET /v1/models": answer("200 OK", orjson.dumps({"object": "list", "data": [{"id": "big", "note": KEY}]})),
    "GET /version": answer("200 OK", b'{"version":"0.32.0"}'),
    "HEAD /health": answer("405 Method Not Allowed", b""),
    "POST /v1/chat/completions": OK,
}


@asynccontextmanager
async def server(answers: Mapping[str, bytes], heard: list[bytes] | None = None) -> AsyncIterator[str]:
    """One that gives each request line its answer; 404 to the rest."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if heard is not None:
                    heard.append(head)
                fields = dict(line.partition(": ")[::2] for line in head.decode().lower().split("\r\n")[1:])
                await reader.readexactly(int(fields.get("content-length", 0)))
                writer.write(answers.get(head.decode().rpartition(" HTTP")[0].split(" HTTP")[0], _NOTHING))
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


_NOTHING = answer("404 Not Found", b"{}")


async def recorded(path: Path, answers: Mapping[str, bytes] = SERVER, *, probe: bool = True) -> Path:
    """A cassette with one chat."""
    async with (
        server(answers) as url,
        running(recording(path, url, recording=RecordingSettings(probe=probe))) as proxy,
    ):
        await ask(proxy.url, CHAT)
    return path


def test_a_recorder_asks_once_and_a_replay_answers(tmp_path: Path) -> None:
    """Models with those that only occur, the version, HEAD; what looks like a key is masked on the cassette."""

    async def both() -> list[tuple[int, Any]]:
        path = await recorded(tmp_path / "a.cassette")
        async with running(replaying(path)) as proxy:
            answers = [
                await ask(proxy.url, Request(method, target))
                for method, target in [
                    ("GET", "/v1/models"),
                    ("GET", "/v1/models/tiny"),
                    ("GET", "/version"),
                    ("HEAD", "/health"),
                    ("GET", "/health"),
                    ("GET", "/t/scope/v1/models"),
                ]
            ]
            assert proxy.app.control.report().causes == ()
        return [(one.status, orjson.loads(one.body) if one.body else None) for one in answers]

    models, one, version, head, health, scoped = run(both())
    assert [model["id"] for model in models[1]["data"]] == ["big", "tiny"]
    assert one == (200, {"id": "tiny", "object": "model", "created": 0, "owned_by": "replayproxy"})
    assert version == (200, {"version": "0.32.0"})
    assert (head, health, scoped) == ((405, None), (200, None), models)
    with CassetteReader(tmp_path / "a.cassette") as cassette:
        assert KEY not in repr(cassette.meta)
        assert "server_models" in cassette.meta


def test_a_recorder_that_is_not_to_ask_does_not(tmp_path: Path) -> None:
    """Nor does one whose server says nothing fail; models that occur are listed all the same."""

    async def both(name: str, answers: Mapping[str, bytes], *, probe: bool) -> tuple[Any, Any]:
        path = await recorded(tmp_path / name, answers, probe=probe)
        async with running(replaying(path)) as proxy:
            models = orjson.loads((await ask(proxy.url, Request("GET", "/v1/models"))).body)
            return [m["id"] for m in models["data"]], orjson.loads(
                (await ask(proxy.url, Request("GET", "/version"))).body
            )

    unknown = (["tiny"], {"version": "replayproxy"})
    assert run(both("a.cassette", SERVER, probe=False)) == unknown
    garbled = {"GET /version": answer("200 OK", b"0.32.0"), "GET /v1/models": answer("401 No", b"{}")}
    assert run(both("b.cassette", {**garbled, "POST /v1/chat/completions": OK}, probe=True)) == unknown


def test_the_recorder_sends_no_credentials_of_anybody(tmp_path: Path) -> None:
    """Three requests, before any client's."""

    async def heard() -> list[bytes]:
        lines: list[bytes] = []
        async with (
            server(SERVER, lines) as url,
            running(recording(tmp_path / "a.cassette", url, recording=RecordingSettings(probe=True))) as proxy,
        ):
            assert len(lines) == 3
            await ask(proxy.url, post("/v1/chat/completions", {"model": "tiny"}, ("Authorization", f"Bearer {KEY}")))
        return lines

    lines = run(heard())
    assert sorted(line.split(b" HTTP")[0] for line in lines[:3]) == [
        b"GET /v1/models",
        b"GET /version",
        b"HEAD /health",
    ]
    assert not any(word in line.lower() for line in lines[:3] for word in (b"authorization", b"cookie"))


def test_what_the_server_said_stands_on_every_cassette_of_a_rotation(tmp_path: Path) -> None:
    """And `info` shows it."""

    async def rotated() -> list[str]:
        async with (
            server(SERVER) as url,
            running(recording(tmp_path / "a.cassette", url, recording=RecordingSettings(probe=True))) as proxy,
        ):
            await proxy.app.control.rotate()
            return list(map(str, proxy.app.control.recorded_files))

    for path in run(rotated()):
        assert "version 0.32.0, serves big" in replayproxy("info", path).stdout


def test_a_pair_asks_its_decode_server(tmp_path: Path) -> None:
    """As it does with such requests of clients."""

    async def heard() -> tuple[list[bytes], list[bytes]]:
        prefill: list[bytes] = []
        decode: list[bytes] = []
        async with server(SERVER, prefill) as first, server(SERVER, decode) as second:
            settings = recording(tmp_path / "a.cassette", "", recording=RecordingSettings(probe=True))
            settings = type(settings)(
                settings.mode, settings.cassettes, pair=Pair((first,), (second,)), recording=settings.recording
            )
            async with running(settings):
                pass
        return prefill, decode

    prefill, decode = run(heard())
    assert (len(prefill), len(decode)) == (0, 3)


def test_what_somebody_recorded_is_played(tmp_path: Path) -> None:
    """Models and preflights too; also when there are no more of them."""
    preflight = _preflight()

    async def both() -> list[int]:
        answers = {**SERVER, "OPTIONS /v1/chat/completions": answer("418 No", b"")}
        async with server(answers) as url, running(recording(tmp_path / "a.cassette", url)) as proxy:
            for request in (CHAT, Request("GET", "/v1/models"), preflight):
                await ask(proxy.url, request)
        async with running(replaying(tmp_path / "a.cassette")) as proxy:
            again = [await ask(proxy.url, request) for request in (Request("GET", "/v1/models"), preflight)]
            assert b'"tiny"' not in again[0].body
        return [one.status for one in again]

    assert run(both()) == [200, 418]


def _preflight(path: str = "/v1/chat/completions", origin: str = PAGE) -> Request:
    fields = (("Origin", origin), ("Access-Control-Request-Method", "POST"))
    return Request("OPTIONS", path, (*fields, ("Access-Control-Request-Headers", "authorization,content-type")))


def test_a_page_may_ask_and_read_a_miss(tmp_path: Path) -> None:
    """The preflight of a recorded endpoint, a miss, a model list and an error of the data port; not another page."""
    missed = post("/v1/chat/completions", {"model": "tiny", "messages": ["other"]}, ("Origin", PAGE))
    stranger = post("/v1/chat/completions", {"model": "tiny", "messages": ["x"]}, ("Origin", "http://evil.example"))

    async def both() -> list[tuple[int, str | None]]:
        path = await recorded(tmp_path / "a.cassette")
        async with running(replaying(path)) as proxy:
            requests = (
                _preflight(),
                _preflight("/v1/models"),
                _preflight("/v1/never"),
                missed,
                stranger,
                Request("GET", "/v1/models", (("Origin", PAGE),)),
                Request("GET", "/health", (("Origin", PAGE),)),
            )
            answers = [await ask(proxy.url, request) for request in requests]
            assert get(answers[0].headers, "access-control-allow-headers") == "authorization,content-type"
        return [(one.status, get(one.headers, "access-control-allow-origin")) for one in answers]

    assert run(both()) == [(204, PAGE), (204, PAGE), (404, PAGE), (404, PAGE), (404, None), (200, PAGE), (200, PAGE)]


def test_cors_lets_a_page_read_what_the_server_did_not(tmp_path: Path) -> None:
    """Recordings too, and the error for a missing key, which a preflight never has."""
    answers = {"POST /v1/chat/completions": answer("200 OK", b'{"choices":[]}')}
    chat = post("/v1/chat/completions", {"model": "tiny", "messages": []}, ("Origin", PAGE))

    async def both(**more: Any) -> list[tuple[int, str | None]]:
        path = tmp_path / "a.cassette"
        if not path.exists():
            await recorded(path, answers)
        async with running(replaying(path, **more)) as proxy:
            got = [await ask(proxy.url, request) for request in (chat, _preflight())]
        return [(one.status, get(one.headers, "access-control-allow-origin")) for one in got]

    assert run(both()) == [(200, None), (204, PAGE)]
    given = Replaying(origins=AllowedOrigins.of(["*"]))
    assert run(both(replaying=given)) == [(200, "*"), (204, "*")]
    key = tmp_path / "key"
    key.write_text("k")
    listen = Listen(port=0, admin_port=None, api_key_file=key)
    assert run(both(replaying=given, listen=listen)) == [(401, "*"), (204, "*")]


@pytest.mark.parametrize("path", ["/health", "/report", "/misses"])
def test_the_admin_port_lets_no_page_read(tmp_path: Path, path: str) -> None:
    """It can change things."""

    async def admin() -> list[str | None]:
        cassette = await recorded(tmp_path / "a.cassette")
        given = Replaying(origins=AllowedOrigins.of(["*"]))
        async with running(replaying(cassette, replaying=given), admin=True) as proxy:
            assert proxy.admin_url is not None
            got = [
                await ask(proxy.admin_url, request)
                for request in (Request("GET", path, (("Origin", PAGE),)), _preflight(path))
            ]
        return [get(one.headers, "access-control-allow-origin") for one in got]

    assert run(admin()) == [None, None]
