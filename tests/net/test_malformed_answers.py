"""What a server may send instead of an answer, and what a strict client (h11) then sees of it through the proxy.

    refused   502, an error of ours, whole
    cut       the head, a beginning of the body, and an unclean end
    whole     an oddity that RFC 9112 allows: the answer, whole

Never an end that the server did not send, and never a byte that does not belong to the answer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import h11

from replayproxy.model import Ending
from tests.apps import endings, recording, run, running
from tests.doubles.upstreams import Close, Reset, Scripted, Send, Step, scripted

OK = b"HTTP/1.1 200 OK\r\n"
TYPE = b"Content-Type: text/plain\r\n"
LENGTH = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
EVIL = b"EVIL"
SECOND = OK + b"Content-Length: 4\r\n\r\n" + EVIL


def head(*lines: bytes, first: bytes = OK) -> bytes:
    """A head with these field lines."""
    return first + TYPE + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def with_length(*lines: bytes, first: bytes = OK) -> bytes:
    """A whole answer with a length and these lines more."""
    return head(*lines, b"Content-Length: 5", first=first) + b"abcde"


def in_chunks(body: bytes) -> bytes:
    """A head, and a body in chunks as it is given."""
    return head(b"Transfer-Encoding: chunked") + body


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "line ends": b"\r\n\r\n\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "HTTP/2 settings": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18,
    "HTML without a head": b"<html>EVIL</html>",
    "ICY": b"ICY 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a field": OK + b"Content-Le",
    "a head without its end": OK + TYPE + LENGTH,
    "HTTP/0.9": with_length(first=b"HTTP/0.9 200 OK\r\n"),
    "HTTP/1.2": with_length(first=b"HTTP/1.2 200 OK\r\n"),
    "HTTP/2.0": with_length(first=b"HTTP/2.0 200 OK\r\n"),
    "HTTP/1": with_length(first=b"HTTP/1 200 OK\r\n"),
    "HTTP/1.10": with_length(first=b"HTTP/1.10 200 OK\r\n"),
    "http in lower case": with_length(first=b"http/1.1 200 OK\r\n"),
    "ICE": with_length(first=b"ICE/1.0 200 OK\r\n"),
    "RTSP": with_length(first=b"RTSP/1.0 200 OK\r\n"),
    **{
        f"status {code}": with_length(first=b"HTTP/1.1 %b X\r\n" % code.encode())
        for code in (
            "000",
            "001",
            "099",
            "600",
            "999",
            "99999",
            "20",
            "2",
            "-200",
            "+200",
            "0x200",
            "2e2",
            "abc",
            "200.0",
        )
    },
    "two spaces before the status": with_length(first=b"HTTP/1.1  200 OK\r\n"),
    "no status": with_length(first=b"HTTP/1.1 OK\r\n"),
    "a status line with a lone LF": with_length(first=b"HTTP/1.1 200 OK\n"),
    "a status line with a lone CR": with_length(first=b"HTTP/1.1 200 OK\rX: y\r\n"),
    "101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nEVIL",
    "101 without an upgrade": head(first=b"HTTP/1.1 101 Switching\r\n") + EVIL,
    "a field with a lone LF": OK + b"A: b\nContent-Length: 5\r\n\r\nabcde",
    "a field with a lone CR": with_length(b"A: b\rB: c"),
    "a field with a NUL": with_length(b"A: b\x00c"),
    "a field with an escape": with_length(b"A: \x1b[2J"),
    "a field with a vertical tab": with_length(b"A: b\x0bc"),
    "a field with DEL": with_length(b"A: b\x7fc"),
    "a folded field": with_length(b"A: b", b" c: d"),
    "a folded first field": OK + b" A: b\r\n" + LENGTH + b"\r\nabcde",
    "a space before the colon": with_length(b"A : b"),
    "a tab before the colon": with_length(b"A\t: b"),
    "no colon": with_length(b"A"),
    "no name": with_length(b": b"),
    "a name with a space": with_length(b"A B: c"),
    "a name with a quote": with_length(b'"A": c'),
    "a name beyond ASCII": with_length(b"\xc3\xa9: c"),
    "a name with a NUL": with_length(b"A\x00: c"),
    "a space before the length's colon": head(b"Content-Length : 5") + b"abcde",
    "two equal lengths": head(b"Content-Length: 5", b"Content-Length: 5") + b"abcde",
    "two lengths": head(b"Content-Length: 5", b"content-length: 9") + b"abcdeEVIL",
    **{
        f"length {value!r}": head(b"Content-Length: " + value.encode()) + b"abcdeEVIL"
        for value in (
            "",
            "5, 5",
            "5,9",
            "+5",
            "-5",
            "0x5",
            "5.0",
            "5e0",
            "five",
            "5 5",
            "1_0",
            "9" * 25,
            str(2**64 + 5),
        )
    },
    "a length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\nEVIL",
    "chunks and a length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\nEVIL",
    **{
        f"coding {value!r}": head(b"Transfer-Encoding: " + value.encode("latin-1")) + b"0\r\n\r\n"
        for value in (
            "",
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "chunked, chunked",
            "identity",
            "xchunked",
            "chunked;a=b",
            "chunk",
            "\x0bchunked",
            '"chunked"',
            ",chunked",
            "chunked,",
        )
    },
    "two codings": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "identity, then chunked": head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks in HTTP/1.0": head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK\r\n") + b"0\r\n\r\n",
    "a length that Connection names": with_length(b"Connection: content-length"),
    "a length that Connection names, too": with_length(b"Connection: close, Content-LENGTH"),
    "interim answers without an end": b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" * 20_000,
    "an interim answer alone": b"HTTP/1.1 100 Continue\r\n\r\n",
    "an interim answer, then garbage": b"HTTP/1.1 103 Early\r\n\r\nEVIL EVIL\r\n\r\n",
    "a head of 300 kB": OK + b"".join(b"A%d: %b\r\n" % (n, b"x" * 1000) for n in range(300)) + b"\r\n",
    "a field of 300 kB": with_length(b"A: " + b"x" * 300_000),
    "a reason of 300 kB": b"HTTP/1.1 200 " + b"x" * 600_000,
}

CUT: dict[str, tuple[bytes, bytes]] = {
    "a length that is not reached": (head(b"Content-Length: 9") + b"abcde", b"abcde"),
    "a length without a body": (head(b"Content-Length: 5"), b""),
    "chunks without a body": (in_chunks(b""), b""),
    "no last chunk": (in_chunks(b"5\r\nabcde\r\n"), b"abcde"),
    "half a chunk": (in_chunks(b"9\r\nabcde"), b"abcde"),
    "a chunk without its line end": (in_chunks(b"5\r\nabcde"), b"abcde"),
    "half a size": (in_chunks(b"5\r\nabcde\r\n1"), b"abcde"),
    "half a last chunk": (in_chunks(b"5\r\nabcde\r\n0"), b"abcde"),
    "a last chunk without its end": (in_chunks(b"5\r\nabcde\r\n0\r\n"), b"abcde"),
    "a trailer without its end": (in_chunks(b"5\r\nabcde\r\n0\r\nA: b\r\n"), b"abcde"),
    **{
        f"size {size!r}": (in_chunks(b"5\r\nabcde\r\n" + size.encode() + b"\r\nEVIL\r\n0\r\n\r\n"), b"abcde")
        for size in ("", "-4", "+4", "0x4", " 4", "4 ", "4\t", "g", "4.0", "4,4", "f" * 17, "١", "4\x00")
    },
    "a size with a lone LF": (in_chunks(b"5\r\nabcde\r\n4\nEVIL\r\n0\r\n\r\n"), b"abcde"),
    "a size with a lone CR": (in_chunks(b"5\r\nabcde\r\n4\rEVIL\r\n0\r\n\r\n"), b"abcde"),
    "a chunk that is longer than its size": (in_chunks(b"5\r\nabcdeEVIL\r\n0\r\n\r\n"), b"abcde"),
    "a chunk that ends in LF": (in_chunks(b"5\r\nabcde\n4\r\nEVIL\r\n0\r\n\r\n"), b"abcde"),
    "a chunk that ends in CR": (in_chunks(b"5\r\nabcde\r4\r\nEVIL\r\n0\r\n\r\n"), b"abcde"),
    "an extension with a NUL": (in_chunks(b"5\r\nabcde\r\n4;a=\x00\r\nEVIL\r\n0\r\n\r\n"), b"abcde"),
    "an extension with a lone LF": (in_chunks(b"5\r\nabcde\r\n4;a\nEVIL\r\n0\r\n\r\n"), b"abcde"),
    "an extension without an end": (in_chunks(b"5\r\nabcde\r\n4;" + b"x" * 600_000), b"abcde"),
    "a trailer without a colon": (in_chunks(b"5\r\nabcde\r\n0\r\nEVIL\r\n\r\n"), b"abcde"),
    "a trailer with a NUL": (in_chunks(b"5\r\nabcde\r\n0\r\nA: \x00\r\n\r\n"), b"abcde"),
    "a length as a trailer": (in_chunks(b"5\r\nabcde\r\n0\r\nContent-Length: 99\r\n\r\n"), b"abcde"),
    "trailers without an end": (in_chunks(b"5\r\nabcde\r\n0\r\n" + b"A: b\r\n" * 100_000), b"abcde"),
}

WHOLE: dict[str, tuple[bytes, bytes]] = {
    "a length": (with_length(), b"abcde"),
    "chunks": (in_chunks(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), b"abcde"),
    "to the end": (head() + b"abcde", b"abcde"),
    "HTTP/1.0": (with_length(first=b"HTTP/1.0 200 OK\r\n"), b"abcde"),
    "no reason": (with_length(first=b"HTTP/1.1 200 \r\n"), b"abcde"),
    "no reason and no space": (with_length(first=b"HTTP/1.1 200\r\n"), b"abcde"),
    "a reason beyond ASCII": (with_length(first=b"HTTP/1.1 200 \xe9\xff\r\n"), b"abcde"),
    "an empty line before it": (b"\r\n" + with_length(), b"abcde"),
    "a padded length": (head(b"Content-Length: \t 5 \t") + b"abcde", b"abcde"),
    "a length with zeros": (head(b"Content-Length: 0005") + b"abcde", b"abcde"),
    "chunked in upper case": (head(b"TRANSFER-ENCODING: Chunked") + b"5\r\nabcde\r\n0\r\n\r\n", b"abcde"),
    "a size with zeros": (in_chunks(b"0005\r\nabcde\r\n000\r\n\r\n"), b"abcde"),
    "an extension": (in_chunks(b'5;a="b"\r\nabcde\r\n0\r\n\r\n'), b"abcde"),
    "a trailer": (in_chunks(b"5\r\nabcde\r\n0\r\nX-A: b\r\n\r\n"), b"abcde"),
    "empty and latin-1 fields": (with_length(b"A:", b"B: \xe9\xff"), b"abcde"),
    "an upgrade that is offered": (with_length(b"Connection: Upgrade", b"Upgrade: h2c"), b"abcde"),
    "hop-by-hop fields": (with_length(b"Connection: x-a", b"X-A: b", b"Keep-Alive: timeout=5"), b"abcde"),
    "interim answers": (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + with_length(), b"abcde"),
    "an interim answer with a length": (b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n" + with_length(), b"abcde"),
    "a second answer behind it": (with_length() + SECOND, b"abcde"),
    "garbage behind it": (with_length() + EVIL * 9, b"abcde"),
    "a second answer behind chunks": (in_chunks(b"5\r\nabcde\r\n0\r\n\r\n") + SECOND, b"abcde"),
    "garbage behind a close": (with_length(b"Connection: close") + EVIL, b"abcde"),
    "204 with a length": (head(b"Content-Length: 4", first=b"HTTP/1.1 204 No\r\n") + EVIL, b""),
    "204 in chunks": (
        head(b"Transfer-Encoding: chunked", first=b"HTTP/1.1 204 No\r\n") + b"4\r\nEVIL\r\n0\r\n\r\n",
        b"",
    ),
    "304 with a length": (head(b"Content-Length: 4", first=b"HTTP/1.1 304 No\r\n") + EVIL, b""),
}


class Seen(NamedTuple):
    """What the strict client saw."""

    status: int
    body: bytes
    whole: bool
    error: str
    """The `X-Replayproxy-Error` of it."""


async def seen(url: str) -> Seen:
    """POST once, and read until the answer is whole or the connection is over. Raises for what is not HTTP."""
    client = h11.Connection(h11.CLIENT)
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = h11.Request(method="POST", target="/v1/x", headers=[("Host", "x"), ("Content-Length", "2")])
    writer.write((client.send(request) or b"") + (client.send(h11.Data(data=b"{}")) or b""))
    client.send(h11.EndOfMessage())
    status, body, error, whole = 0, b"", "", False
    try:
        while not whole:
            event = client.next_event()
            if event is h11.NEED_DATA:
                data = await asyncio.wait_for(reader.read(65536), 10)
                try:
                    client.receive_data(data)
                    if not data:
                        client.next_event()
                        break
                except h11.RemoteProtocolError:
                    assert not data, f"{data!r} is not HTTP"  # the end came too early: an unclean one
                    break
            elif isinstance(event, h11.Response):
                status = event.status_code
                error = dict(event.headers).get(b"x-replayproxy-error", b"").decode()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                whole = True
        assert client.trailing_data[0] == b""
    finally:
        writer.close()
    return Seen(status, body, whole, error)


async def wrong(server: Scripted, url: str, data: bytes, last: Step, expected: Seen) -> Seen | None:
    """What was seen, where that was something else."""
    server._script = (Send(data), last) if data else (last,)
    got = await seen(url)
    if expected.error:
        return (
            None if (got.status, got.whole, got.error) == (502, True, expected.error) and EVIL not in got.body else got
        )
    return None if got == expected else got


def test_a_strict_client_sees_no_invented_end_and_no_garbage(tmp_path: Path) -> None:
    """Each kind, ended by FIN; those that break off also by RST."""
    assert len(REFUSED) + len(CUT) >= 90

    async def dialogue() -> tuple[dict[str, Seen], int]:
        failures: dict[str, Seen] = {}
        rows = 0

        async def check(name: str, data: bytes, last: Step, expected: Seen) -> None:
            nonlocal rows
            rows += 1
            if (got := await wrong(server, proxy.url, data, last, expected)) is not None:
                failures[f"{name}, {type(last).__name__}"] = got

        async with (
            scripted() as server,
            running(recording(tmp_path / "a.cassette", server.url, upstream_timeout=5.0)) as proxy,
        ):
            for name, data in REFUSED.items():
                await check(name, data, Close(), Seen(502, b"", True, "upstream_garbled"))
            for name, (data, body) in CUT.items():
                for last in (Close(), Reset()):
                    await check(name, data, last, Seen(200, body, False, ""))
            for name, (data, body) in WHOLE.items():
                await check(name, data, Close(), Seen(_status(data), body, True, ""))
        return failures, rows

    failures, rows = run(dialogue())
    assert failures == {}
    kept = endings(tmp_path / "a.cassette")
    assert len(kept) == rows
    assert kept.count(Ending.COMPLETE) == len(WHOLE)


def _status(data: bytes) -> int:
    """Of the final answer."""
    for code in (204, 304):
        if b"HTTP/1.1 %d " % code in data:
            return code
    return 200
