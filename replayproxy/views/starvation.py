"""Whether the recorder was scheduled so late that the gaps of an answer mean nothing, and the sentence that says so.

A delay matters if it is at least half of the answer's mean gap: a gap may then be half as long again, or be missing.
The mean is compared and not the median, because chunks that are read together make the median zero and leave the mean
as it was. A delay much shorter than the gaps changes no figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replayproxy.views.units import duration


def delay(row: Mapping[str, Any]) -> float:
    """The largest delay of the recorder while this answer ran, in seconds; 0 where it does not matter."""
    if not row["stream"] or row["chunks"] < 2 or not row["starved_s"] or row["total_s"] is None:
        return 0.0
    took = row["total_s"] - (row["ttft_s"] or 0.0)
    return float(row["starved_s"]) if 2 * row["starved_s"] * (row["chunks"] - 1) >= took else 0.0


def sentence(seconds: float) -> str:
    """Say what a delay of so many seconds means."""
    length = f"{seconds * 1e3:.0f} ms" if seconds < 1 else duration(seconds)  # the timer has a resolution of 1 ms
    return f"the recorder was starved, up to {length}: gaps below that mean nothing"
