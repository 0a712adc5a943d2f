"""Counters of a running proxy: plain numbers. Does not know how they are shown."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from replayproxy.model import RecordingRef
from replayproxy.proxy.carried_ids import OTHERS, CarriedUse
from replayproxy.proxy.traffic import Traffic

LATENESS_BOUNDS = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
"""Seconds."""

MOST_CARRIED = 10_000
"""Uses of carried ids that are counted each, 500 bytes each; further ones are counted together."""


class Counters:
    """Counters of one process."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """By outcome: replay, record, forward, simulate, probe, refuse, upgrade, damaged, fault."""
        self.endings: Counter[str] = Counter()
        """Of recorded answers, by how they ended."""
        self.faults: Counter[str] = Counter()
        """Injected faults, by kind."""
        self.misses: Counter[str] = Counter()
        """By code."""
        self.played: Counter[RecordingRef] = Counter()
        """How often each recording was played. It counts once it was read, its digest was right, and sending began."""
        self.carried: dict[CarriedUse, tuple[int, int]] = {}
        """By fresh id and what it stood for: in how many requests, and in how many answers."""
        self.traffic = Traffic()
        """Answers by endpoint, model and status, and their times."""
        self.in_flight = 0
        self.stalled = 0
        self.uploads_cut = 0
        """Uploads longer than --max-body: forwarded whole, and recorded cut."""
        self.lateness_counts = [0] * (len(LATENESS_BOUNDS) + 1)
        self.lateness_sum = 0.0
        self.lateness_max = 0.0

    def reset(self) -> None:
        """Set all counters to 0, but for the requests in flight."""
        for counter in (self.requests, self.endings, self.faults, self.misses, self.played):
            counter.clear()
        self.carried.clear()
        self.traffic.reset()
        self.stalled = self.uploads_cut = 0
        self.lateness_counts = [0] * (len(LATENESS_BOUNDS) + 1)
        self.lateness_sum = self.lateness_max = 0.0

    def carry(self, use: CarriedUse, *, requests: int = 0, answers: int = 0) -> None:
        """Count a use of an id."""
        if len(self.carried) >= MOST_CARRIED and use not in self.carried:
            use = CarriedUse("", OTHERS, OTHERS, OTHERS)
        before = self.carried.get(use, (0, 0))
        self.carried[use] = before[0] + requests, before[1] + answers

    def late(self, nanoseconds: int) -> None:
        """Count a chunk that was sent so many nanoseconds after its time."""
        seconds = nanoseconds / 1e9
        self.lateness_counts[bisect_left(LATENESS_BOUNDS, seconds)] += 1
        self.lateness_sum += seconds
        self.lateness_max = max(self.lateness_max, seconds)
