"""Streams with random spellings, cuts, codings and leave points: `python -m tests.bench.endings [COUNT] [FIRST SEED]`.

Each is judged live, by the recorder and by the connection, then as a whole, and by an oracle (`tests.ending_verdicts`).
Exit code 1: two of them disagree about one. 100 000 by default, which takes some minutes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from tests.ending_verdicts import disagreement
from tests.streams import made

COUNT = 100_000


async def main(count: int, first: int) -> int:
    """Try them all; gives the exit code."""
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    wrong = 0
    for seed in range(first, first + count):
        if (said := await disagreement(seed)) is not None:
            wrong += 1
            print(said)
        if (seed - first) % 10 == 0:
            stream = made(seed)
            kinds["ended" if stream.ended() else "not ended"] += 1
            kinds[stream.coding or "no coding"] += 1
    took = time.monotonic() - began
    print(f"{count} streams from seed {first}, {wrong} of them judged differently live and whole, in {took:.0f} s")
    print("  of every tenth: " + ", ".join(f"{name} {times}" for name, times in kinds.most_common()))
    return 1 if wrong else 0


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    sys.exit(asyncio.run(main(*numbers, *(COUNT, 0)[len(numbers) :])))
