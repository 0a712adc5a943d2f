"""Nothing is smuggled: whatever a client sends, a strict server behind the proxy (h11) finds no request that the client
did not send in good order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest

from replayproxy.settings import Settings
from tests import wire
from tests.apps import exchanges, recording, run, running
from tests.net.malformed import MALFORMED, SMUGGLED

AT_ONCE = 16


@dataclass
class Judge:
    """A strict server. `requests` are those that came whole: method, target, body."""

    url: str = ""
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        head, body = None, b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    head, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    self.requests.append((head.method.decode(), head.target.decode(), body))
                    answer = h11.Response(status_code=200, headers=[("Content-Length", "2")])
                    sent = connection.send(answer) or b""
                    sent += b"" if head.method == b"HEAD" else (connection.send(h11.Data(data=b"ok")) or b"")
                    writer.write(sent + (connection.send(h11.EndOfMessage()) or b""))
                    await writer.drain()
                    if connection.our_state is h11.MUST_CLOSE:
                        break
                    connection.start_next_cycle()
                else:
                    break
        except h11.RemoteProtocolError as error:
            if not reader.at_eof():  # else: a request that did not come whole, as it should be
                self.errors.append(str(error))
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def judging() -> AsyncIterator[Judge]:
    """A running judge."""
    judge = Judge()
    server = await asyncio.start_server(judge.serve, "127.0.0.1", 0)
    judge.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield judge


async def answers_to(url: str, pieces: list[bytes]) -> bytes:
    """All that comes back for these packets, until the connection is closed."""
    async with wire.connect(url) as connection:
        for piece in pieces:
            try:
                connection.write(piece)
            except wire.Ended:
                break
            await asyncio.sleep(0.002)  # a packet of its own
        said, _ = await asyncio.wait_for(connection.rest(), 20)
        return said


def in_one(data: bytes) -> list[bytes]:
    """One packet."""
    return [data]


def head_and_body(data: bytes) -> list[bytes]:
    """The head in one packet, the rest in another."""
    head, end, body = data.partition(b"\r\n\r\n")
    return [head + end, *([body] if body else [])]


def at_line_ends(data: bytes) -> list[bytes]:
    """A packet per line, its end in the next one; of what is long the beginning."""
    return [piece for piece in data[:400].replace(b"\r\n", b"\r\n\0SPLIT").split(b"\0SPLIT") if piece] + (
        [data[400:]] if data[400:] else []
    )


@pytest.mark.parametrize("packets", [in_one, head_and_body, at_line_ends])
def test_malformed_requests_are_refused_and_none_is_smuggled(
    tmp_path: Path, packets: Callable[[bytes], list[bytes]]
) -> None:
    """More than 300: each gets one error of ours, and the judge sees no request at all."""
    assert len(MALFORMED) >= 300

    async def dialogue() -> dict[str, object]:
        wrong: dict[str, object] = {}
        async with judging() as judge, running(recording(tmp_path / "a.cassette", judge.url)) as proxy:
            turns = asyncio.Semaphore(AT_ONCE)

            async def one(name: str, data: bytes) -> None:
                async with turns:
                    before = len(judge.requests)
                    said = await answers_to(proxy.url, packets(data))
                head = said.partition(b"\r\n\r\n")[0].lower()
                refused = head.startswith((b"http/1.1 4", b"http/1.1 505")) and b"\r\nconnection: close" in head
                if not refused or said.count(b"X-Replayproxy-Error: ") != 1:
                    wrong[name] = said
                if len(judge.requests) != before:
                    wrong.setdefault(name, judge.requests[before:])

            await asyncio.gather(*(one(name, data) for name, data in MALFORMED.items()))
            assert judge.errors == []
            assert judge.requests == []
            assert sum(proxy.app.parts.server.refusals.values()) == len(MALFORMED)
        return wrong

    assert run(dialogue()) == {}


BODY = b"GET /admin HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\r\n"
JAVA = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)

ODD: dict[str, tuple[bytes, bytes]] = {
    "a body on GET": (b"GET / HTTP/1.1\r\nHost: x\r\n" + LENGTH, BODY),
    "a body on HEAD": (b"HEAD / HTTP/1.1\r\nHost: x\r\n" + LENGTH, BODY),
    "a body on DELETE": (b"DELETE / HTTP/1.1\r\nHost: x\r\n" + LENGTH, BODY),
    "a body on OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + LENGTH, BODY),
    "chunks on GET": (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    "extensions and trailers": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: content-length\r\n",
        b'%x;a="b";c\r\n%b\r\n000;d\r\nContent-Length: 5\r\nX-B: c\r\n\r\n' % (len(BODY), BODY),
    ),
    "h2c with a length": (b"POST / HTTP/1.1\r\nHost: x\r\n" + JAVA + LENGTH, BODY),
    "h2c in chunks": (b"POST / HTTP/1.1\r\nHost: x\r\n" + JAVA + b"Transfer-Encoding: chunked\r\n", CHUNKED),
    "h2c without a body": (b"GET / HTTP/1.1\r\nHost: x\r\n" + JAVA, b""),
    "websocket with a body": (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH,
        BODY,
    ),
    "websocket by POST": (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH,
        BODY,
    ),
    "two upgrades": (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n" + LENGTH,
        BODY,
    ),
    "TLS/1.2": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\n" + LENGTH, BODY),
    "an Upgrade that Connection does not name": (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" + LENGTH, BODY),
    "upgrade without Upgrade": (b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n" + LENGTH, BODY),
    "TE as Perl sends it": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTE: deflate,gzip;q=0.3\r\nConnection: TE\r\n" + LENGTH,
        BODY,
    ),
    "HTTP/1.0": (b"POST / HTTP/1.0\r\n" + LENGTH, BODY),
    "HTTP/1.0 kept": (b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + LENGTH, BODY),
    "no white space": (b"POST / HTTP/1.1\r\nHost:x\r\n" + LENGTH.replace(b" ", b""), BODY),
    "much white space": (b"POST / HTTP/1.1\r\nHost: \t x \t \r\n" + LENGTH.replace(b": ", b": \t "), BODY),
    "an empty line first": (b"\r\nPOST / HTTP/1.1\r\nHost: x\r\n" + LENGTH, BODY),
    "900 fields": (b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 900 + LENGTH, BODY),
    "an expectation": (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + LENGTH, BODY),
    "hop-by-hop fields": (
        b"POST / HTTP/1.1\r\nHost: x\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nConnection: X-A\r\nX-A: b\r\n" + LENGTH,
        BODY,
    ),
}


def odd() -> Iterator[tuple[str, bytes, bytes]]:
    """Name, head, body."""
    for name, (head, body) in ODD.items():
        yield name, head + b"\r\n", body


@pytest.mark.parametrize("packets", [in_one, head_and_body])
def test_odd_requests_are_one_request_with_their_body(tmp_path: Path, packets: Callable[[bytes], list[bytes]]) -> None:
    """Well-formed, if rare: the judge sees each of them once, with its body byte for byte, and the recording has it."""
    cassette = tmp_path / "a.cassette"

    async def dialogue() -> tuple[dict[str, object], int]:
        wrong: dict[str, object] = {}
        async with judging() as judge, running(recording(cassette, judge.url)) as proxy:
            for name, head, body in odd():
                before = len(judge.requests)
                async with wire.connect(proxy.url) as connection:
                    connection._asked = head.strip().split(b" ")[0].decode()
                    for piece in packets(head + body):
                        connection.write(piece)
                        await asyncio.sleep(0.002)
                    got = await connection.answer()
                seen = judge.requests[before:]
                expected = BODY if body else b""
                if (got.status, len(seen)) != (200, 1) or seen[0][2] != expected:
                    wrong[name] = (got, seen)
            assert judge.errors == []
            return wrong, len(judge.requests)

    wrong, count = run(dialogue())
    assert wrong == {}
    kept = exchanges(cassette)
    assert (len(kept), count) == (len(ODD), len(ODD))
    assert {exchange.request.body for exchange in kept} == {BODY, b""}


def test_a_pipelined_request_behind_a_refused_upgrade_is_answered(tmp_path: Path) -> None:
    """In the same packet: two requests, two answers."""

    async def dialogue(settings: Settings, judge: Judge) -> None:
        async with running(settings) as proxy, wire.connect(proxy.url) as connection:
            first = b"POST /1 HTTP/1.1\r\nHost: x\r\n" + JAVA + b"Content-Length: 2\r\n\r\nab"
            connection.write(first + b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [(await connection.answer()).body for _ in range(2)] == [b"ok", b"ok"]
            assert judge.requests == [("POST", "/1", b"ab"), ("GET", "/2", b"")]

    async def judged() -> None:
        async with judging() as judge:
            await dialogue(recording(tmp_path / "a.cassette", judge.url), judge)

    run(judged())


def test_the_case_of_the_issue(tmp_path: Path) -> None:
    """Connection: content-length, head and body in two packets, the body holds a second request: 400, and nothing goes
    upstream."""
    head = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nConnection: content-length\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)

    async def dialogue() -> None:
        async with judging() as judge, running(recording(tmp_path / "a.cassette", judge.url)) as proxy:
            said = await answers_to(proxy.url, [head, SMUGGLED])
            assert said.startswith(b"HTTP/1.1 400 ")
            assert judge.requests == []

    run(dialogue())
