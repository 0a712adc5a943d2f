"""Whether the recorder was scheduled too late for the gaps of an answer to mean anything, and the sentence for it.

A delay matters where it is at least half of the answer's mean gap: then a gap may be half as long again, or not there
at all. The mean, and not the median: chunks that are read together leave the median at nothing, and the mean where it
was. A delay that is short beside the gaps changes no figure that anybody reads.
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
    """What it means."""
    length = f"{seconds * 1e3:.0f} ms" if seconds < 1 else duration(seconds)  # the timer knows no parts of a ms
    return f"the recorder was starved, up to {length}: gaps below that mean nothing"
