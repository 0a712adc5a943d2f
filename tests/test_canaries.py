"""Canaries: secrets that go through everything, and are found nowhere but at the client.

Each is put where a secret may stand. Recorded, replayed, missed, listed, shown, verified, killed in the middle: none is
on the screen, none in the raw files, none in what they hold unpacked. The client gets every one of them unmasked.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import orjson

from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.model import Headers, Request
from tests.apps import exchanges, pairing, replaying, run, running
from tests.doubles.pair_double import pair
from tests.doubles.pair_model import CHAT
from tests.doubles.upstreams import END, STREAM, Hang, Send, answer, chunk, scripted
from tests.processes import Proxy, recording, replayproxy
from tests.processes import replaying as replaying_process
from tests.wire import Answer, ask, connect, get, post

KEY = "canary-0f9d8c7b6a5e4f3d2c1b"
"""What is in most of them; with it each has letters of its own."""


def canary(name: str) -> str:
    """One of its own for each place."""
    return f"{name}-{KEY}"


def delta(text: str, field: str = "content") -> bytes:
    """An event of a chat."""
    said: object = {field: text}
    if field == "arguments":
        said = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
    value = {"id": "chatcmpl-1", "model": "tiny", "choices": [{"index": 0, "delta": said, "finish_reason": None}]}
    return b"data: " + orjson.dumps(value) + b"\n\n"


def spread(text: str, field: str = "content") -> bytes:
    """The same, three characters an event, each event a chunk."""
    return b"".join(chunk(delta(text[at : at + 3], field)) for at in range(0, len(text), 3))


def cut(data: bytes, size: int = 3) -> bytes:
    """Bytes in small HTTP chunks."""
    return b"".join(chunk(data[at : at + size]) for at in range(0, len(data), size))


DONE = chunk(b"data: [DONE]\n\n") + END
JSON = b"Content-Type: application/json"


def streamed(*chunks: bytes) -> bytes:
    """A whole stream."""
    return STREAM + b"".join(chunks) + DONE


def bearer(name: str) -> Headers:
    """A request's own key."""
    return (("Authorization", f"Bearer {canary(name)}"),)


def chat(name: str, *, content: str = "hello", headers: Headers | None = None, target: str = CHAT) -> Request:
    """A chat that asks with its own canary."""
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": f"{content} {name[:4]}"}]}
    return post(target, body, *(bearer(name) if headers is None else headers))


@dataclass(frozen=True)
class Bird:
    """A canary: what is asked, what is answered, and what nobody is to find (besides the name with the key)."""

    request: Request
    answer: bytes
    also: tuple[str, ...] = ()
    heard: bool = True


def _birds() -> dict[str, Bird]:
    shape = "sk-proj-Zk3" + "aB7x" * 10
    google = "AIza" + "Sy3fGh9Kl" * 3 + "Sy3fGh9K"
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    pem = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 5 + "-----END PRIVATE KEY-----"
    basic = base64.b64encode(f"alice:{canary('basic')}".encode()).decode()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in canary("escaped"))
    boundary = b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n'
    form = (("Content-Type", "multipart/form-data; boundary=x"), *bearer("multipart"))
    upload = Request(
        "POST", "/v1/audio/transcriptions", form, boundary + canary("multipart").encode() + b"\r\n--x--\r\n"
    )
    zipped = gzip.compress(orjson.dumps({"echo": canary("gzipped"), "choices": []}))
    ok = "200 OK"
    return {
        "authorization": Bird(chat("authorization"), streamed(chunk(delta(canary("authorization"))))),
        "cookie": Bird(
            chat("cookie", headers=(("Cookie", f"theme=dark; session={canary('cookie')}"),)),
            streamed(chunk(delta(f"your session is {canary('cookie')}."))),
        ),
        "query": Bird(
            chat("query", headers=(), target=f"{CHAT}?key={canary('query')}"),
            answer(ok, orjson.dumps({"url": f"/v1?key={canary('query')}"})),
        ),
        "percent": Bird(
            chat("percent", headers=(), target=f"{CHAT}?api_key={quote(canary('percent') + '/+ü', safe='')}"),
            answer(ok, orjson.dumps({"url": quote(canary("percent") + "/+ü", safe="")})),
        ),
        "body": Bird(
            chat("body", content=f"my key is {canary('body')}, keep it"), answer(ok, b'{"choices":[]}'), heard=False
        ),
        "three bytes": Bird(chat("three bytes"), streamed(cut(delta(f"it is {canary('three bytes')}!")))),
        "three characters": Bird(chat("three characters"), streamed(spread(f"it is {canary('three characters')} so"))),
        "reasoning": Bird(chat("reasoning"), streamed(spread(canary("reasoning"), "reasoning_content"))),
        "tool call": Bird(
            chat("tool call"), streamed(spread(orjson.dumps({"key": canary("tool call")}).decode(), "arguments"))
        ),
        "escaped": Bird(
            chat("escaped"), answer(ok, b'{"echo":"' + escaped.encode() + b'"}'), also=(escaped,), heard=False
        ),
        "escaped in events": Bird(
            chat("escaped in events"),
            streamed(
                *(
                    chunk(b'data: {"choices":[{"index":0,"delta":{"content":"\\u%04x"}}]}\n\n' % ord(letter))
                    for letter in canary("escaped in events")
                )
            ),
            heard=False,
        ),
        "basic": Bird(
            chat("basic", headers=(("Authorization", f"Basic {basic}"),)),
            answer(ok, orjson.dumps({"header": f"Basic {basic}", "password": canary("basic")})),
            also=(basic, base64.b64encode(canary("basic").encode()).decode()),
        ),
        "x-api-key": Bird(
            chat("x-api-key", headers=(("X-Api-Key", canary("x-api-key")),)), streamed(spread(canary("x-api-key")))
        ),
        "vendor": Bird(
            chat("vendor", headers=(("Ocp-Apim-Subscription-Key", canary("vendor")),)),
            answer(ok, orjson.dumps({"you": canary("vendor")})),
        ),
        "answer header": Bird(
            chat("answer header"),
            answer(ok, b"{}", b"X-Request-Id: " + canary("answer header").encode()),
            heard=False,
        ),
        "set-cookie": Bird(
            chat("set-cookie", headers=()),
            answer(
                ok,
                orjson.dumps({"session": canary("set-cookie")}),
                b"Set-Cookie: s=" + canary("set-cookie").encode() + b"; Path=/",
            ),
        ),
        "kept field": Bird(
            chat("kept field"),
            answer(ok, b"{}", b"X-Inference-Pod: pod-" + canary("kept field").encode()),
            heard=False,
        ),
        "csrf": Bird(
            chat("csrf", headers=()), answer(ok, b"{}", b"X-Csrf-Token: " + canary("csrf").encode()), heard=False
        ),
        "error": Bird(
            chat("error"),
            answer("401 Unauthorized", orjson.dumps({"error": {"message": f"Incorrect API key: {canary('error')}"}})),
        ),
        "multipart": Bird(upload, answer(ok, orjson.dumps({"text": canary("multipart")}))),
        "path": Bird(get(f"/v1/keys/{canary('path')}", *bearer("path")), answer(ok, b"{}"), heard=False),
        "user agent": Bird(
            chat("user agent", headers=(*bearer("user agent"), ("User-Agent", f"curl ({canary('user agent')})"))),
            answer(ok, b"{}"),
            heard=False,
        ),
        "gzipped": Bird(
            chat("gzipped", headers=(*bearer("gzipped"), ("Accept-Encoding", "gzip"))),
            answer(ok, zipped, b"Content-Encoding: gzip"),
            heard=False,
        ),
        "shape": Bird(chat("shape", content=shape, headers=()), streamed(spread(f"so it is {shape}?")), also=(shape,)),
        "google": Bird(
            chat("google", headers=(), target=f"{CHAT}?key={google}"),
            answer(ok, orjson.dumps({"k": google})),
            also=(google,),
        ),
        "jwt": Bird(chat("jwt", content=jwt, headers=()), answer(ok, orjson.dumps({"t": jwt})), also=(jwt,)),
        "pem": Bird(
            chat("pem", content=pem, headers=()),
            streamed(spread(pem.replace("\n", "|"))),
            also=(pem[30:90], pem[30:60], "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"),
            heard=False,
        ),
    }


BIRDS = _birds()
SECRETS = tuple(dict.fromkeys([KEY, *(word for bird in BIRDS.values() for word in bird.also)]))
assert len(BIRDS) >= 20


def sung(text: bytes | str) -> list[str]:
    """The secrets that can be read there, also where they are spread over the events of a stream."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return [secret for secret in SECRETS if secret.encode() in data]


def said_by(answer: Answer) -> str:
    """All texts of an answer's events together; else its body."""
    texts: list[str] = []
    for line in answer.body.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in orjson.loads(line[6:])["choices"]:
                said = choice["delta"]
                calls = said.get("tool_calls", [])
                texts += [value for value in said.values() if isinstance(value, str)]
                texts += [call["function"]["arguments"] for call in calls]
    return "".join(texts) or answer.body.decode("latin-1")


def unpacked(cassette: Path) -> bytes:
    """Everything a sealed cassette holds, as it reads, and all texts of its events together."""
    parts: list[bytes] = []
    for exchange in exchanges(cassette):
        heard = [(exchange.request, exchange.response), *((leg.request, leg.response) for leg in exchange.legs)]
        for request, response in heard:
            parts += [request.target.encode(), repr(request.headers).encode(), request.body]
            parts += [repr(response.headers).encode(), response.body]
            parts += [gzip.decompress(response.body)] if ("Content-Encoding", "gzip") in response.headers else []
            for line in response.body.split(b"\n"):
                if line.startswith(b"data: {"):
                    event = orjson.loads(line[6:])
                    parts.append(orjson.dumps(event))
        parts.append(b"".join(_texts(exchange.response.body)))
        parts.append(exchange.scope.encode())
    with CassetteReader(cassette) as opened:
        for kind, content in opened.all("SELECT kind, content FROM dictionary"):
            words = Codec().vocabulary(content).words if kind == "vocabulary" else [Codec().plain_dictionary(content)]
            parts.append(b"\n".join(words))
        for table in ("meta", "endpoint", "exchange", "leg", "dropped"):
            parts.append(repr(opened.all(f"SELECT * FROM {table}")).encode())  # noqa: S608  names of ours
    return b"\n".join(parts)


def _texts(body: bytes) -> list[bytes]:
    texts: list[bytes] = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in orjson.loads(line[6:]).get("choices", ()):
                said = choice.get("delta", {})
                calls = said.get("tool_calls", [])
                texts += [value.encode() for value in said.values() if isinstance(value, str)]
                texts += [call["function"]["arguments"].encode() for call in calls]
    return texts


def raw(folder: Path) -> bytes:
    """All files of a folder, as they are."""
    return b"\n".join(file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file())


def looked_at(cassette: Path) -> list[str]:
    """What the reading verbs print."""
    with CassetteReader(cassette) as opened:
        names = [row["id"] for row in opened.rows("state = 'done'")]
    verbs: list[Sequence[str | Path]] = [
        ("ls", cassette, "--no-trunc"),
        ("ls", cassette, "--json"),
        ("info", cassette),
        ("info", cassette, "--json"),
        ("stats", cassette),
        ("verify", cassette, "--secrets"),
        *(("show", cassette, name) for name in names[::6]),
    ]
    ran = [replayproxy(*verb) for verb in verbs]
    assert [one.returncode for one in ran] == [0] * len(ran), [one.stderr + one.stdout for one in ran if one.returncode]
    return [one.stdout + one.stderr for one in ran]


def named(name: str) -> Request:
    """A bird's request, by which its server knows it."""
    request = BIRDS[name].request
    return replace(request, headers=(*request.headers, ("X-Bird", name)))


@asynccontextmanager
async def aviary() -> AsyncIterator[str]:
    """A server that answers each bird with its own song."""

    async def sing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(line.partition(": ")[::2] for line in head.lower().split("\r\n")[1:])
                if "transfer-encoding" in fields:
                    while await reader.readuntil(b"\r\n") != b"0\r\n":
                        pass
                    await reader.readuntil(b"\r\n")
                await reader.readexactly(int(fields.get("content-length", 0)))
                writer.write(BIRDS[fields["x-bird"]].answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(sing, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


ADMIN = ("/metrics", "/ready", "/health", "/report", "/misses", "/misses/m-0001", "/misses/m-0002", "/misses/m-0003")


def test_canaries_are_heard_by_the_client_alone(tmp_path: Path) -> None:
    """Record, replay, miss, look: nobody but the client hears one."""
    cassette = tmp_path / "birds.cassette"
    screens: list[str] = []

    async def record() -> dict[str, Answer]:
        async with aviary() as url:
            with recording(cassette, url, "--log-format", "json") as proxy:
                heard = {name: await ask(proxy.url, named(name)) for name in BIRDS}
                screens.append((await ask(proxy.admin_url or "", get("/metrics"))).body.decode())
            screens.append(proxy.said)
        return heard

    live = run(record())
    for name, bird in BIRDS.items():
        if bird.heard:
            assert sung(said_by(live[name])), name
    assert sung(raw(tmp_path)) == []
    assert sung(unpacked(cassette)) == []

    async def replay() -> tuple[dict[str, Answer], list[Answer]]:
        with replaying_process(cassette) as proxy:
            heard = {name: await ask(proxy.url, named(name)) for name in BIRDS}
            misses = [
                await ask(proxy.url, chat("missed", content=f"other {KEY}", target=f"/t/{KEY}{CHAT}?key={KEY}")),
                await ask(
                    proxy.url, get(f"/v1/ws/{canary('ws')}", *bearer("ws"), ("Connection", "Upgrade"), ("Upgrade", "x"))
                ),
                await ask(proxy.url, get(f"/v1/keys/other-{KEY}", ("Authorization", f"Bearer {KEY}"))),
            ]
            admin = await asyncio.gather(*(ask(proxy.admin_url or "", get(page)) for page in ADMIN))
        screens.append(proxy.said)
        return heard, [*misses, *admin]

    again, others = run(replay())
    assert [name for name, one in again.items() if one.status != live[name].status] == []
    assert [name for name, one in again.items() if sung(said_by(one))] == []
    sizes = [name for name, one in again.items() if len(one.body) != len(live[name].body)]
    assert sizes == ["gzipped"]  # the one that nothing could be masked within
    assert [one.status for one in others] == [404, 404, 404, *[200] * len(ADMIN)]
    screens += [one.body.decode() for one in others]
    screens += looked_at(cassette)
    assert [screen for screen in screens if sung(screen)] == []


def test_a_replay_with_another_key_finds_its_recording(tmp_path: Path) -> None:
    """A credential is masked by a constant, also where it echoes in the query and in the body."""
    cassette = tmp_path / "keys.cassette"

    def asked(key: str) -> Request:
        return post(f"{CHAT}?api_key={key}", {"model": "tiny", "prompt": f"it is {key}"}, ("X-Api-Key", key))

    async def both() -> int:
        async with scripted(Send(answer("200 OK", b"{}")), again=True) as server:
            with recording(cassette, server.url) as proxy:
                await ask(proxy.url, asked("first-key-000001"))
        async with running(replaying(cassette)) as proxy:
            return (await ask(proxy.url, asked("a-quite-different-key-of-another-length"))).status

    assert run(both()) == 200


def test_a_killed_recorder_leaves_no_canary(tmp_path: Path) -> None:
    """SIGKILL within a stream that says a canary: not in the file, not in its log, not in what is made of both."""
    cassette = tmp_path / "killed.cassette"
    name = "killed"
    filler = [chunk(delta(f" word{n}")) for n in range(400)]

    async def kill() -> None:
        steps = [STREAM, *filler, spread(canary(name)), *filler, spread(canary(name)[:-4])]
        async with scripted(Send(b"".join(steps)), Hang()) as server:
            proxy = await asyncio.to_thread(
                Proxy, "record", cassette, "--upstream", server.url, "--port", "0", "--admin-port", "off", "--no-probe"
            )
            async with connect(proxy.url) as connection:
                connection.send(chat(name))
                await connection.head()
                await _committed(cassette)
            await asyncio.to_thread(proxy.kill)

    run(kill())
    assert sung(raw(tmp_path)) == []
    assert (tmp_path / "killed.cassette-wal").exists()
    # The next recorder finishes what this one has begun.
    with CassetteReader(cassette) as opened:
        matcher = Matcher(opened.rules, opened.redactor)
    CassetteWriter(cassette, matcher).seal()
    (exchange,) = exchanges(cassette)
    assert len(exchange.response.body) > 10_000
    assert sung(raw(tmp_path)) == []
    assert sung(unpacked(cassette)) == []


async def _committed(cassette: Path) -> None:
    """Until something of a stream in flight is on the disk."""
    async with asyncio.timeout(30):
        while True:
            with CassetteReader(cassette) as opened:
                if opened.one("SELECT count(*) FROM segment")[0]:
                    return
            await asyncio.sleep(0.05)


def test_the_legs_of_a_pair_hold_no_canary(tmp_path: Path) -> None:
    """What prefill and decode were asked and said goes through the same function."""
    cassette = tmp_path / "pair.cassette"

    async def record() -> None:
        async with pair("nixl") as double, running(pairing(cassette, double)) as proxy:
            body = {
                "model": "tiny",
                "max_tokens": 3,
                "messages": [{"role": "user", "content": f"I am {canary('leg')}"}],
            }
            answer = await ask(proxy.url, post(CHAT, body, *bearer("leg")))
            assert answer.status == 200

    run(record())
    (exchange,) = exchanges(cassette)
    assert [leg.role for leg in exchange.legs] == ["prefill", "decode"]
    assert all(b"*~redacted~*" in leg.request.body for leg in exchange.legs)
    assert sung(raw(tmp_path)) == []
    assert sung(unpacked(cassette)) == []
