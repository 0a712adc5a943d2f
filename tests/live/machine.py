"""How busy this machine is with other things: a beat is measured when nobody else drums."""

from __future__ import annotations

import time
from pathlib import Path

QUIET = 0.25
"""Of all CPUs' time: what may be in use by others. A machine of our own, with an idle vLLM, uses 0.05."""

GLANCE = 0.5
"""Seconds to look."""


def wait_for_quiet(patience: float) -> float:
    """Wait until the machine is quiet, at most so many seconds. Gives how busy it was at the last look, 0 to 1."""
    deadline = time.monotonic() + patience
    while True:
        busy = _busy()
        if busy <= QUIET or time.monotonic() > deadline:
            return busy


def _busy() -> float:
    before, idle_before = _spent()
    time.sleep(GLANCE)
    after, idle_after = _spent()
    return 1 - (idle_after - idle_before) / max(1, after - before)


def _spent() -> tuple[int, int]:
    """Ticks of all CPUs since boot, and the idle ones among them (proc(5): idle is the fourth, iowait the fifth)."""
    ticks = [int(tick) for tick in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]
