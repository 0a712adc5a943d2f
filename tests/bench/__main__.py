"""How fast and how small: `make bench`, or `python -m tests.bench NAME…` with names from `MEASURES`.

Prints tables with their ratios, each from rounds that alternate between what is compared, and ends with the promises.
Exit code 1: a bound is broken, or something could not be measured, other than for want of nginx. Linux only, loopback
only, about five minutes; on a machine where something else runs the numbers are that machine's.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import large, load, micro, miss, pair, record, replay, simulate, size, start, timing, wire
from tests.bench.processes import NO_NGINX, nginx_program
from tests.bench.report import Verdict, table

MEASURES: dict[str, Callable[[Path], list[Verdict]]] = {
    "record": record.measure,
    "replay": replay.measure,
    "timing": timing.measure,
    "size": size.measure,
    "micro": micro.measure,
    "wire": wire.measure,
    "pair": pair.measure,
    "miss": miss.measure,
    "start": start.measure,
    "load": load.measure,
    "large": large.measure,
    "simulate": simulate.measure,
}


def main(names: list[str]) -> int:
    """Measure; gives the exit code."""
    if unknown := [name for name in names if name not in MEASURES]:
        print(f"there is no measurement {unknown[0]!r}: choose from {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    if not hasattr(os, "sched_setaffinity"):
        print("these measurements pin processes to cores and read their CPU clocks, which needs Linux", file=sys.stderr)
        return 2
    cores = len(os.sched_getaffinity(0))
    print(f"Python {platform.python_version()}, Linux {platform.release()}, {cores} cores")
    if cores < 2:
        print("Only one core: server and load share it, and nothing below is what it would be with two.")
    if nginx_program() is None:
        print(NO_NGINX)
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"Something else has been running here (load {load:.1f}): it is in the numbers below.")
    print()
    started = time.monotonic()
    verdicts: list[Verdict] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="replayproxy-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker may be somebody else
        for measure in names or MEASURES:
            try:
                verdicts += MEASURES[measure](folder)
            except (RuntimeError, AssertionError) as error:
                failed = True
                print(f"{measure} could not be measured: {error}\n", flush=True)
    if verdicts:
        headings = ("promise", "measured", "bound", "aim", "")
        print(table("Promises", headings, [verdict.row for verdict in verdicts]))
    print(f"  {time.monotonic() - started:.0f} s")
    return int(failed or any(verdict.broken for verdict in verdicts))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    sys.exit(main(sys.argv[1:]))
