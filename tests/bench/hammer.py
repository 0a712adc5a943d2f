"""Ask as fast as the answers come, over a few connections that stay. A process by itself, plan in, findings out.

    python -m tests.bench.hammer < plan.json > findings.json

Each distinct request is first asked once, and its answer's length on the wire noted; from then on an answer is over
when so many bytes have come, and it is only looked at whether it begins and ends as it should. Sockets and epoll by
hand, because a client library would be busier than the server.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from typing import Any

import orjson

from tests.bench.processes import core_seconds, cpu_seconds, report

GOOD = b"HTTP/1.1 200 "
PIECE = 256 * 1024


def connected(port: int) -> socket.socket:
    """A connection to the server."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def length_of(connection: socket.socket, request: bytes) -> int:
    """Ask once and listen to the end, as HTTP tells it."""
    connection.sendall(request)
    heard = b""
    while True:
        piece = connection.recv(PIECE)
        heard += piece
        head, mark, body = heard.partition(b"\r\n\r\n")
        if not piece or (mark and not heard.startswith(GOOD)):
            raise RuntimeError(f"asked {request[:200]!r}, got {heard[:500]!r}")
        if not mark:
            continue
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = fields.get(b"content-length")
        if body.endswith(b"0\r\n\r\n") if length is None else len(body) == int(length):
            return len(heard)


def run(port: int, requests: list[str], connections: int, seconds: float, pid: int, core: int) -> dict[str, Any]:
    """Hammer."""
    asked = [request.encode() for request in requests]
    first = connected(port)
    lengths = [length_of(first, request) for request in asked]
    first.close()
    endings = [b"\r\n" if b"POST" in request else b"" for request in asked]
    sockets = {one.fileno(): one for one in (connected(port) for _ in range(connections))}
    poll = select.epoll()
    current: dict[int, int] = {}
    missing: dict[int, int] = {}
    place = answers = size = 0
    buffer = bytearray(PIECE)
    for number, one in sockets.items():
        poll.register(number, select.EPOLLIN)
        current[number], missing[number] = place, lengths[place]
        one.send(asked[place])
        place = (place + 1) % len(asked)
    cpu, busy, start = cpu_seconds(pid), core_seconds(core), time.monotonic()
    end = start + seconds
    while (now := time.monotonic()) < end:
        for number, _ in poll.poll():
            one = sockets[number]
            wanted = missing[number]
            got = one.recv_into(buffer)
            if wanted == lengths[current[number]] and not buffer.startswith(GOOD):
                raise RuntimeError(f"an answer begins with {bytes(buffer[:200])!r}")
            if got < wanted and got:
                missing[number] = wanted - got
                continue
            if got != wanted or not buffer.startswith(endings[current[number]], got - 2):
                raise RuntimeError(f"an answer ends with {bytes(buffer[:got][-200:])!r}, {got} bytes for {wanted}")
            answers += 1
            size += lengths[current[number]]
            current[number], missing[number] = place, lengths[place]
            one.send(asked[place])
            place = (place + 1) % len(asked)
    used, busy = cpu_seconds(pid) - cpu, core_seconds(core) - busy
    return {"answers": answers, "bytes": size, "seconds": now - start, "cpu": used, "busy": busy}


if __name__ == "__main__":
    report(run(**orjson.loads(sys.stdin.buffer.read())))
