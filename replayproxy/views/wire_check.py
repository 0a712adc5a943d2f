"""Two recordings of the same traffic, before and behind a gateway: what it changed, held back and added.

Joins exchanges as `diff` does (`views.joining`), and compares each pair (`core.wire_comparison`). Plain values.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from replayproxy.core.stats import Summary, summarise
from replayproxy.core.wire_comparison import WireDifference, compare_on_wire
from replayproxy.views.joining import joined
from replayproxy.views.pairing import PairedRow
from replayproxy.views.port import EVERYTHING, Browser, ExchangeFilter

LISTED = 100
"""Pairs with a difference that are kept; the others are counted."""


@dataclass(frozen=True, slots=True)
class DifferingPair:
    """Two exchanges whose answers differ, or in which events were held back."""

    before: PairedRow
    behind: PairedRow
    difference: WireDifference | None
    held: int = 0
    longest_hold_s: float = 0.0


@dataclass(slots=True)
class WireReport:
    """What was found. Times in seconds. `missing`: only before the gateway; `extra`: only behind it."""

    pairs: int = 0
    equal: int = 0
    events: int = 0
    held: int = 0
    longest_hold_s: float = 0.0
    missing: tuple[PairedRow, ...] = ()
    extra: tuple[PairedRow, ...] = ()
    differing: list[DifferingPair] = field(default_factory=list)
    added: Summary | None = None
    """Latency of chunks."""
    first_added: Summary | None = None
    """That of the first chunk of each answer."""

    def exit_code(self, max_added: float | None = None) -> int:
        """9 where nothing was compared; 5 for a difference, an event held back, or latency above `max_added`."""
        if not self.pairs:
            return 9
        slow = max_added is not None and self.added is not None and self.added.p99 > max_added
        return 5 if self.equal < self.pairs or self.held or self.missing or self.extra or slow else 0

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {
            "pairs": self.pairs,
            "equal": self.equal,
            "missing": [row.id for row in self.missing],
            "extra": [row.id for row in self.extra],
            "events": self.events,
            "held_back": self.held,
            "longest_hold_s": self.longest_hold_s,
            "added_s": _percentiles(self.added),
            "added_to_first_chunk_s": _percentiles(self.first_added),
            "differing": [_pair_fields(pair) for pair in self.differing],
        }


def check_wire(before: Browser, behind: Browser, chosen: ExchangeFilter = EVERYTHING) -> WireReport:
    """Compare all pairs, one after the other."""
    pairing = joined(before, behind, chosen)
    report = WireReport(missing=pairing.missing, extra=pairing.extra)
    added, first_added = array("d"), array("d")
    for left, right in pairing.pairs:
        found = compare_on_wire(before.response(left.number), behind.response(right.number))
        report.pairs += 1
        report.equal += found.difference is None
        report.events += found.events
        report.held += found.held
        report.longest_hold_s = max(report.longest_hold_s, found.longest_hold / 1e9)
        added.extend(nanoseconds / 1e9 for nanoseconds in found.added)
        first_added.extend(nanoseconds / 1e9 for nanoseconds in found.added[:1])
        if (found.difference is not None or found.held) and len(report.differing) < LISTED:
            report.differing.append(DifferingPair(left, right, found.difference, found.held, found.longest_hold / 1e9))
    report.added, report.first_added = summarise(added), summarise(first_added)
    return report


def _percentiles(summary: Summary | None) -> dict[str, float] | None:
    if summary is None:
        return None
    return {"n": summary.n, "p50": summary.p50, "p99": summary.p99, "max": summary.max}


def _pair_fields(pair: DifferingPair) -> dict[str, Any]:
    found = pair.difference
    difference = (
        None
        if found is None
        else {
            "what": found.what,
            "at": found.at,
            "before": found.before.decode("utf-8", "backslashreplace"),
            "behind": found.behind.decode("utf-8", "backslashreplace"),
        }
    )
    return {
        "before": pair.before.id,
        "behind": pair.behind.id,
        "request": pair.before.name,
        "difference": difference,
        "held_back": pair.held,
        "longest_hold_s": pair.longest_hold_s,
    }
