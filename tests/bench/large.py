"""What reading costs on a cassette of very many exchanges: `ls -n 20`, `show ID` and `stats`, beyond a start.

The cassette is made first (`large_cassette`), which takes minutes: REPLAYPROXY_LARGE names one that is there, or a
number of exchanges; the default is 100 000, and the promises are about 1 000 000.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from replayproxy.cassette.browse import CassetteBrowser
from tests.bench.large_cassette import make
from tests.bench.report import Verdict, table

ROUNDS = 5

VARIABLE = "REPLAYPROXY_LARGE"

BOUNDS = {"ls -n 20": 0.2, "show ID": 0.2, "stats": 2.0}
"""Seconds beyond `--version`, for 1 000 000 exchanges."""

MOST_MEMORY = 150.0
"""MB of each process."""


class Cost(NamedTuple):
    """What one process took: seconds on the wall, seconds of CPU, MB of memory."""

    wall: float
    cpu: float
    memory: float


def measure(folder: Path) -> list[Verdict]:
    """Print a table; the best of some rounds, because what else runs only adds."""
    path = _cassette(folder)
    with CassetteBrowser.open(path) as browser:
        exchanges, some = browser.count(), browser.newest_ids(1000)[-1].digest
    commands: dict[str, Sequence[str]] = {
        "--version": ("--version",),
        "ls -n 20": ("ls", "-n", "20", str(path)),
        "show ID": ("show", str(path), some),
        "stats": ("stats", str(path)),
        "stats --by hour": ("stats", str(path), "--by", "hour"),
        "ls -n 20 --where": ("ls", "-n", "20", str(path), "--where", "status >= 400"),
    }
    costs = {name: _best([_run(words) for _ in range(ROUNDS)]) for name, words in commands.items()}
    start = costs["--version"].wall
    rows = [
        (name, f"{cost.wall:.2f}", f"{cost.wall - start:.2f}", f"{cost.cpu:.2f}", f"{cost.memory:.0f}")
        for name, cost in costs.items()
    ]
    headings = ("command", "s", "s beyond the start", "s of CPU", "MB")
    print(table(f"Reading {exchanges:,} exchanges ({path.stat().st_size:,} bytes), best of {ROUNDS}", headings, rows))
    verdicts = [
        Verdict(f"`{name}` on {exchanges:,} exchanges", costs[name].wall - start, bound, unit="s", counted=False)
        for name, bound in BOUNDS.items()
    ]
    most = max(costs[name].memory for name in BOUNDS)
    return [*verdicts, Verdict(f"memory of reading {exchanges:,} exchanges", most, MOST_MEMORY, unit="MB")]


def _cassette(folder: Path) -> Path:
    wanted = os.environ.get(VARIABLE, "100000")
    if not wanted.isdigit():
        return Path(wanted)
    path, started = folder / "large.cassette", time.monotonic()
    make(path, int(wanted))
    print(f"Large: {int(wanted):,} exchanges made in {time.monotonic() - started:.0f} s", flush=True)
    return path


def _run(words: Sequence[str]) -> Cost:
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "replayproxy", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"replayproxy {' '.join(words)} ended with {process.returncode}")
    return Cost(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _best(costs: Sequence[Cost]) -> Cost:
    return Cost(min(cost.wall for cost in costs), min(cost.cpu for cost in costs), min(cost.memory for cost in costs))
