"""Counts the work that a call does, so that a test can say how it grows: lines run and bytes handed to C.

Time says less: it depends on the machine. What a regular expression of ours does with its bytes is counted in
`tests/core/test_own_patterns.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

COUNTED = (bytes, bytearray, str)
IN_PART = {"start", "at", "position", "place", "spans", "stop"}
"""Parameters of functions that look at a part of the text they are given."""


def steps(work: Callable[[], object]) -> int:
    """Lines of replayproxy that run, and the sizes of the texts given to its functions."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "replayproxy" not in frame.f_code.co_filename:
            return None
        if event == "call":
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount]
            given = (frame.f_locals.get(name) for name in names)
            if not code.co_flags & 0x20 and IN_PART.isdisjoint(names):  # a generator is entered for each value
                count += sum(len(value) for value in given if isinstance(value, COUNTED))
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def grows_in_proportion(work: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Whether twice as much costs at most three times as many steps: bounds that are met on the way cost a little more
    than their share, the square would cost four times. `work(size)` prepares, and gives what is counted."""
    once, twice = steps(work(size)), steps(work(2 * size))
    assert twice <= 3 * once, (once, twice)
    return True
