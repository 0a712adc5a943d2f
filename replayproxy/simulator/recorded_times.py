"""Latencies of recorded traffic as a model: the time to first token by prompt and load, gaps by load.

A nearest-neighbour model: a first token takes what one of the recorded requests took that were most alike in prompt
tokens and in requests at the same time; a gap is one of those recorded at about this load. So whatever shape the
distribution had, heavy tails too, is the shape that it has here. Beyond the recorded loads it does not extrapolate.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import log2
from typing import NamedTuple

NEIGHBOURS = 12
"""Recorded requests among which one is drawn. With fewer, one odd request would be seen too often."""

MOST_REQUESTS = 4000
"""Requests of a cassette that are looked at, the latest ones."""

MOST_GAPS = 20_000
"""Gaps that are kept for each load."""

LOAD_WEIGHT = 2.0
"""Doubling the load counts as much as making the prompt four times as long."""


class RecordedRequest(NamedTuple):
    """Times in ns. `running` is how many requests were open when it came, itself included."""

    prompt: int
    running: int
    first_token: int
    gaps: tuple[int, ...] = ()


class HeldOutError(NamedTuple):
    """A quantile as recorded and as predicted, in ns, for requests that the model had not seen."""

    name: str
    recorded: int
    predicted: int

    @property
    def relative(self) -> float:
        """The difference as a share of what was recorded."""
        return (self.predicted - self.recorded) / self.recorded if self.recorded else 0.0


class HeldOutLoad(NamedTuple):
    """The errors for requests at loads from `least` to `most`."""

    least: int
    most: int
    requests: int
    errors: list[HeldOutError]


@dataclass(frozen=True)
class RecordedTimes:
    """The model. Made by `of`."""

    requests: tuple[RecordedRequest, ...]
    loads: tuple[int, ...]
    """Loads for which there are gaps, ascending."""
    gaps: tuple[tuple[int, ...], ...]
    """Gaps for each of them."""
    _nearest: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """First tokens to draw from, by prompt and load, both rounded: a few hundred entries at most."""

    @classmethod
    def of(cls, requests: Iterable[RecordedRequest]) -> RecordedTimes | None:
        """The model of these requests; None where there is none."""
        latest = tuple(requests)[-MOST_REQUESTS:]
        by_load: dict[int, list[int]] = defaultdict(list)
        for request in latest:
            by_load[_rounded(request.running)] += request.gaps
        kept = {load: tuple(islice(gaps, MOST_GAPS)) for load, gaps in sorted(by_load.items()) if gaps}
        return cls(latest, tuple(kept), tuple(kept.values())) if latest else None

    def faster(self, factor: float) -> RecordedTimes:
        """The same, so many times as fast."""
        requests = [one._replace(first_token=round(one.first_token / factor)) for one in self.requests]
        gaps = tuple(tuple(round(gap / factor) for gap in group) for group in self.gaps)
        return RecordedTimes(tuple(requests), self.loads, gaps)

    def first_token(self, draw: random.Random, *, prompt: int, running: int) -> int:
        """The time to first token of a request with so many prompt tokens to compute, at this load."""
        key = _rounded(prompt), _rounded(running)
        times = self._nearest.get(key)
        if times is None:
            nearest = sorted(self.requests, key=lambda one: _distance(one, *key))[:NEIGHBOURS]
            times = self._nearest[key] = tuple(one.first_token for one in nearest)
        return draw.choice(times)

    def next_token(self, draw: random.Random, *, running: int) -> int:
        """The time from one token to the next, at this load."""
        if not self.loads:
            return 0
        load = _rounded(running)
        at = min(bisect_left(self.loads, load), len(self.loads) - 1)
        if at and load - self.loads[at - 1] < self.loads[at] - load:
            at -= 1
        return draw.choice(self.gaps[at])


def held_out_errors(requests: Sequence[RecordedRequest], seed: int = 0) -> list[HeldOutError]:
    """How well a model of every second request predicts the others: median and 99th percentile of both times."""
    model, others = RecordedTimes.of(requests[::2]), requests[1::2]
    return _errors(model, others, random.Random(seed)) if model is not None and others else []


def _errors(model: RecordedTimes, others: Sequence[RecordedRequest], draw: random.Random) -> list[HeldOutError]:
    first = [(one.first_token, model.first_token(draw, prompt=one.prompt, running=one.running)) for one in others]
    gaps = [(gap, model.next_token(draw, running=one.running)) for one in others for gap in one.gaps]
    return [
        HeldOutError(
            f"{name} {label}", quantile([one for one, _ in pairs], share), quantile([two for _, two in pairs], share)
        )
        for name, pairs in (("first token", first), ("gap", gaps))
        if pairs
        for label, share in (("median", 0.5), ("p99", 0.99))
    ]


def held_out_by_load(requests: Sequence[RecordedRequest], bounds: Sequence[int], seed: int = 0) -> list[HeldOutLoad]:
    """The same for loads up to each of these bounds: whether the model follows the load, and not a mixture of loads."""
    model, others = RecordedTimes.of(requests[::2]), requests[1::2]
    found: list[HeldOutLoad] = []
    least = 1
    for most in bounds:
        chosen = [one for one in others if least <= one.running <= most]
        if model is not None and chosen:
            found.append(HeldOutLoad(least, most, len(chosen), _errors(model, chosen, random.Random(seed))))
        least = most + 1
    return found


def quantile(values: list[int], share: float) -> int:
    """The smallest value that is not below this share of all of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _rounded(number: int) -> int:
    """Loads and lengths that count as one: 1, 2, 3, 4, 6, 8, 12, 16, 24 …"""
    if number <= 4:
        return max(1, number)
    step = 1 << (number.bit_length() - 2)
    return number // step * step


def _distance(one: RecordedRequest, prompt: int, running: int) -> float:
    by_prompt = abs(log2(one.prompt + 1) - log2(prompt + 1))
    return by_prompt + LOAD_WEIGHT * abs(log2(one.running) - log2(max(1, running)))
