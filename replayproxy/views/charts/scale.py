"""Where a value belongs on an axis, and at which round values the axis is labelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from replayproxy.views.units import count, duration

MINUTE, HOUR, DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY),
)
"""Seconds between the labels of an axis of time."""


@dataclass(frozen=True, slots=True)
class AxisTick:
    """A labelled value: where it is (from 0 to 1), and its label."""

    share: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`. Logarithmic ones have only values above 0; lower ones stand at their begin."""

    low: float
    high: float
    label: Callable[[float], str] = count
    is_log: bool = False
    is_time: bool = False
    """Values are seconds since the Unix epoch."""

    @classmethod
    def of(cls, values: Sequence[float], label: Callable[[float], str] = duration, *, is_log: bool = False) -> Scale:
        """An axis that holds all values; a logarithmic one for at least one power of ten."""
        if is_log:
            above = [value for value in values if value > 0] or [1.0]
            low, high = min(above), max(above)
            if high < 3 * low:
                low, high = low / 2, high * 2
            return cls(low, high, label, is_log=True)
        high = max(values, default=1.0)
        return cls(0.0, high if high > 0 else 1.0, label)

    @classmethod
    def of_times(cls, times: Sequence[float]) -> Scale:
        """An axis of wall time, of at least a second."""
        low, high = min(times, default=0.0), max(times, default=0.0)
        if high - low < 1:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, is_time=True)

    def share(self, value: float) -> float:
        """Where a value is, from 0 to 1; what lies outside is put at the nearer end."""
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = (math.log10(max(number, self.low)) for number in (value, low, high))
        if high <= low:
            return 0.5
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def value(self, share: float) -> float:
        """The value at a place between 0 and 1."""
        if self.is_log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def ticks(self, most: int = 6) -> list[AxisTick]:
        """At most so many round values with their labels, in ascending order."""
        if self.is_log:
            chosen = _logarithmic(self.low, self.high, most)
            return [AxisTick(self.share(value), self.label(value)) for value in chosen]
        if self.is_time:
            step = next((step for step in _TIME_STEPS if (self.high - self.low) / step < most), None)
            step = step if step is not None else _round_step((self.high - self.low) / DAY / most) * DAY
            chosen = _multiples(self.low, self.high, step)
            return [AxisTick(self.share(value), _time_label(value, step)) for value in chosen]
        step = _round_step((self.high - self.low) / most)
        return [AxisTick(self.share(value), self.label(value)) for value in _multiples(self.low, self.high, step)]


def _round_step(least: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _logarithmic(low: float, high: float, most: int) -> list[float]:
    """Powers of ten; also 2 and 5 times these where there is room; every n-th power where there are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(inside) <= most:
            break
    return inside[:: -(-len(inside) // most) or 1]


def _time_label(seconds: float, step: float) -> str:
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"
    if step >= DAY:
        return f"{at:%b %d}"
    if step >= MINUTE:
        return f"{at:%H:%M}" if seconds % DAY else f"{at:%b %d}"
    return f"{at:%H:%M:%S}" if step >= 1 else f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
