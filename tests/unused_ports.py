"""Ports that nobody else takes while a test needs them: to be served on later, or to refuse every connection.

A port that the kernel has given (`bind` to 0) and got back is given to the next that asks: to another test that runs at
the same time, or to an outgoing connection.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, END = 12_000, 32_000
"""Below those that Linux gives by itself (net.ipv4.ip_local_port_range)."""


def _scattered() -> Iterator[int]:
    ports = list(range(FIRST, END))
    random.Random(os.getpid()).shuffle(ports)  # other than in the tests' other processes
    return iter(ports)


_ports = _scattered()


def unused_port() -> int:
    """A port to be served on a moment later; each is given once. Raises `StopIteration` after 20 000."""
    while True:
        port = next(_ports)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:  # somebody serves there
                continue
        return port


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port that refuses connections while the block runs: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
