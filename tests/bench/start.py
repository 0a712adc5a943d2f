"""What a start costs: CPU of commands that a person or a shell waits for, beside an interpreter that does nothing.

User and system time of the process and not the clock on the wall, so that what else the machine does disturbs less;
rounds alternate between the commands, and a median is taken of each. Bytecode is written first, as it is by pip.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

from tests.bench.report import Verdict, table

ROUNDS = 21

GOLDEN = str(Path(__file__).parent.parent.parent / "cassettes" / "format-2.cassette")

NOTHING = "python -c pass"

COMMANDS: dict[str, tuple[str, ...]] = {
    NOTHING: ("-c", "pass"),
    "import replayproxy": ("-c", "import replayproxy"),
    "import click": ("-c", "import click"),
    "replayproxy --version": ("-m", "replayproxy", "--version"),
    "replayproxy --help": ("-m", "replayproxy", "--help"),
    "replayproxy replay --help": ("-m", "replayproxy", "replay", "--help"),
    "replayproxy ls": ("-m", "replayproxy", "ls", GOLDEN),
    "replayproxy show": ("-m", "replayproxy", "show", GOLDEN),
}

BOUNDS = {"replayproxy --version": 6.0, "replayproxy ls": 10.0}


def measure(_: Path) -> list[Verdict]:
    """Start each of them in turn."""
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for words in COMMANDS.values():
        _cpu(words)  # bytecode and the page cache
    for _round in range(ROUNDS):
        for name, words in COMMANDS.items():
            spent[name].append(_cpu(words))
    base = median(spent[NOTHING])
    ratios = {name: median(values) / base for name, values in spent.items()}
    rows = [(name, f"{median(values) * 1e3:.0f}", f"{ratios[name]:.1f}") for name, values in spent.items()]
    print(table(f"CPU of a start, median of {ROUNDS}", ("command", "ms", f"x {NOTHING}"), rows))
    return [Verdict(f"CPU of `{name}`, beside `{NOTHING}`", ratios[name], bound) for name, bound in BOUNDS.items()]


def _cpu(words: tuple[str, ...]) -> float:
    """User and system time of one process, in seconds."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
