"""Times at which requests arrive, drawn from a process: constant gaps, Poisson, or gamma (bursts).

A process of rate 1 is drawn from a seed, and the time in which it runs is stretched to the rate that is wanted then, so
that a ramp has the right number of requests in each part (inversion method; Devroye, Non-Uniform Random Variate
Generation, 1986, chapter VI.1). Times are ns since the start of the run.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from replayproxy.errors import SettingsError

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ArrivalProcess:
    """Requests per second, and how they are spread. `shape` None: constant gaps; 1: Poisson; below 1: bursts.

    The rate grows evenly from `ramp_from` to `rate` within `ramp` seconds.
    """

    rate: float
    shape: float | None = 1.0
    ramp: float = 0.0
    ramp_from: float = 0.0

    def times(self, count: int, seed: int) -> list[int]:
        """So many arrivals, in ns; the first one is a gap after the start, save with constant gaps."""
        draw = random.Random(f"arrivals {seed}")
        found: list[int] = []
        passed = 0.0
        for number in range(count):
            if self.shape is None:
                passed = float(number)
            else:
                passed += draw.gammavariate(self.shape, 1 / self.shape)
            found.append(round(self._time_of(passed) * NANOSECONDS))
        return found

    def _time_of(self, arrivals: float) -> float:
        """The second at which so many arrivals are expected."""
        if not self.ramp:
            return arrivals / self.rate
        within = (self.ramp_from + self.rate) / 2 * self.ramp
        if arrivals >= within:
            return self.ramp + (arrivals - within) / self.rate
        slope = (self.rate - self.ramp_from) / self.ramp
        if not slope:
            return arrivals / self.rate
        # The positive root of the quadratic that counts the arrivals of a rate which grows by `slope`.
        return (math.sqrt(max(0.0, self.ramp_from**2 + 2 * slope * arrivals)) - self.ramp_from) / slope


def shape_of(text: str) -> float | None:
    """`constant`, `poisson` or `gamma:K`, as the shape of a process. Raises `SettingsError`."""
    if text == "constant":
        return None
    if text == "poisson":
        return 1.0
    kind, mark, number = text.partition(":")
    try:
        shape = float(number)
    except ValueError:
        shape = 0.0
    if kind != "gamma" or not mark or not 0 < shape < math.inf:
        raise SettingsError(f"--arrivals {text} is not constant, poisson or gamma:K: write gamma:0.5 for bursts")
    return shape
