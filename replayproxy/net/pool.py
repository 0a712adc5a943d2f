"""The idle connections to one server: bounded in number and in time.

Knows no request. A connection that is not IDLE is closed and not kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from replayproxy.net.upstream_connection import State, UpstreamConnection

KEEP_ALIVE = 2_000_000_000
"""Nanoseconds an idle connection is kept: vLLM closes after 5 s, and a request sent into that moment is lost."""

MOST_IDLE = 256
"""Idle connections that are kept to one server: about what vLLM answers at once (`--max-num-seqs`), 10 kB each."""


class Pool:
    """Idle connections, the one that was used last at the right end."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._idle: deque[UpstreamConnection] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Pool of {len(self._idle)} idle connections>"

    def __len__(self) -> int:
        return len(self._idle)

    def take(self) -> UpstreamConnection | None:
        """The connection that was used last and is still open; None where there is none."""
        oldest = self._now() - KEEP_ALIVE
        while self._idle:
            wire = self._idle.pop()
            if wire.idle_since > oldest and wire.still_open:
                return wire
            wire.close()
        return None

    def give_back(self, wire: UpstreamConnection) -> None:
        """Keep a connection for the next request, or close it where it must not carry one."""
        if wire.state is not State.IDLE:
            wire.close()
            return
        wire.idle_since = self._now()
        self._idle.append(wire)
        if len(self._idle) > MOST_IDLE:
            self._idle.popleft().close()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEEP_ALIVE / 1e9, self._reap)

    def close(self) -> None:
        """Close all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            self._idle.pop().close()

    def _reap(self) -> None:
        """Close what has been idle for too long, or was closed by the server; ring again for the oldest one left."""
        self._timer = None
        now = self._now()
        kept = [wire for wire in self._idle if wire.state is State.IDLE and now - wire.idle_since < KEEP_ALIVE]
        for wire in set(self._idle).difference(kept):
            wire.close()
        self._idle = deque(kept)
        if kept:
            due = kept[0].idle_since + KEEP_ALIVE - now
            self._timer = asyncio.get_running_loop().call_later(max(due, 0) / 1e9 + 0.001, self._reap)
