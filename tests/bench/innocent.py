"""One client that asks the same small request on a fixed beat, while something else burdens the proxy.

    python -m tests.bench.innocent PORT < request > findings.json        asks until it gets SIGTERM

Latency counts from the moment at which a request was due, not from when it was sent: a proxy that stands still for a
second delays each request that was due in it, and one request that waits would otherwise hide the others.
"""

from __future__ import annotations

import signal
import sys
import time

from tests.bench.hammer import GOOD, connected, length_of
from tests.bench.processes import report

PERIOD = 0.010
"""Seconds between two requests."""


def main(port: int) -> None:
    """Ask until SIGTERM; then say how many milliseconds each answer took."""
    request = sys.stdin.buffer.read()
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    connection = connected(port)
    size = length_of(connection, request)
    spent: list[float] = []
    due = time.monotonic()
    while not ended:
        due += PERIOD
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        connection.sendall(request)
        received = b""
        while len(received) < size:
            piece = connection.recv(size)
            if not piece or not (received + piece).startswith(GOOD[: len(received + piece)]):
                raise RuntimeError(f"an answer ended as {(received + piece)[:300]!r}")
            received += piece
        spent.append((time.monotonic() - due) * 1000)
    report(spent)


if __name__ == "__main__":
    main(int(sys.argv[1]))
