"""A gate: one condition on a comparison, such as `p95(ttft) <= 1.10`, and whether it holds.

    gate    = measure op limit
    measure = STATISTIC "(" TIME ")" | TIME | COUNT            p95(ttft), ratio(total), ttft, missing
    op      = "<=" | "<" | ">=" | ">" | "==" | "!="
    limit   = a ratio to the first run (1.10, +10%), a time of the second run (500ms, 2s), a count (0), a share (1%)

A gate on a time fails only if the effect is beyond its limit *and* the interval excludes that nothing changed; it
passes only if the whole interval is within the limit. Anything between is inconclusive, which is not a pass: with few
or noisy answers a change of that size would not have been seen. White space does not matter. `diff` and `compare` share
this grammar. Knows no cassette.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from replayproxy.core.comparison.statistic import FEWEST, Estimate, Statistic
from replayproxy.errors import SettingsError

TIMES = ("ttft", "gap", "max_gap", "itl", "tpot", "total")
"""What is measured of an answer; `COUNTS` is what is counted of a comparison."""

COUNTS = (
    "pairs",
    "missing",
    "extra",
    "different",
    "identical",
    "regressions",
    "status",
    "text",
    "finish",
    "tools",
    "usage",
    "shape",
    "errors",
    "error_rate",
)

SHARES = ("error_rate",)
"""Counts that are a share from 0 to 1 already."""

DEFAULT_STATISTIC = "ratio"
"""Of a time without one: the median of the ratios of the pairs."""

_GATE = re.compile(
    r"\s*(?:(?P<statistic>[A-Za-z][A-Za-z0-9.]*)\s*\(\s*(?P<inner>[A-Za-z_]+)\s*\)|(?P<bare>[A-Za-z_]+))"
    r"\s*(?P<op><=|>=|==|!=|=|<|>)\s*(?P<sign>[+-]?)\s*(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>%|ns|us|µs|ms|s|x)?\s*"
)

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}


class LimitKind(StrEnum):
    """What the limit is compared with."""

    RATIO = "ratio"
    SECONDS = "seconds"
    COUNT = "count"
    SHARE = "share"


class GateOutcome(StrEnum):
    """What became of a gate."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition. `statistic` is None for a count."""

    text: str
    measure: str
    statistic: Statistic | None
    op: str
    limit: float
    kind: LimitKind

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read one. Raises `SettingsError` with what is wrong and an example."""
        found = _GATE.fullmatch(text)
        if found is None:
            raise _refused(text, "it is not one condition")
        measure = (found["inner"] or found["bare"]).lower()
        op = "==" if found["op"] == "=" else found["op"]
        if measure in COUNTS:
            return cls._of_count(text, measure, found, op)
        if measure not in TIMES:
            raise _refused(text, f"{measure} is not measured: use {', '.join(TIMES)}, or count {', '.join(COUNTS)}")
        statistic = Statistic.named((found["statistic"] or DEFAULT_STATISTIC).lower())
        if statistic is None:
            raise _refused(text, f"{found['statistic']} is not a statistic: use ratio, mean, median, or p95")
        if op in ("==", "!="):
            raise _refused(text, f"a time is never exactly a number: use <= or >= in place of {found['op']}")
        if found["unit"] in _SECONDS:
            return cls._of_seconds(text, measure, found, op, statistic)
        return cls(_normal(text), measure, statistic, op, _ratio(text, found), LimitKind.RATIO)

    @classmethod
    def _of_seconds(cls, text: str, measure: str, found: re.Match[str], op: str, statistic: Statistic) -> Gate:
        if statistic.of_ratios:
            if found["statistic"]:
                raise _refused(text, "a ratio has no unit: write a median or a percentile, such as p95")
            statistic = Statistic("p50", 50)
        if found["sign"] == "-":
            raise _refused(text, "a time is not negative")
        limit = float(found["number"]) * _SECONDS[found["unit"]]
        return cls(_normal(text), measure, statistic, op, limit, LimitKind.SECONDS)

    @classmethod
    def _of_count(cls, text: str, measure: str, found: re.Match[str], op: str) -> Gate:
        if found["statistic"]:
            raise _refused(text, f"{measure} is one number: write it without {found['statistic']}(…)")
        if found["sign"] or found["unit"] not in (None, "%"):
            raise _refused(text, f"{measure} is a count: give a number, or a share such as 1%")
        number = float(found["number"])
        if found["unit"] == "%":
            return cls(_normal(text), measure, None, op, number / 100, LimitKind.SHARE)
        kind = LimitKind.SHARE if measure in SHARES else LimitKind.COUNT
        return cls(_normal(text), measure, None, op, number, kind)

    def holds(self, value: float) -> bool:
        """Whether a number meets the condition."""
        return _OPERATORS[self.op](value, self.limit)

    @property
    def limits_from_above(self) -> bool:
        """Whether larger is worse."""
        return self.op in ("<=", "<")


def _ratio(text: str, found: re.Match[str]) -> float:
    """The limit of a ratio: 1.10 and 1.10x as they are, +10% as 1.10."""
    number, unit, sign = float(found["number"]), found["unit"], found["sign"]
    if unit == "%" and not sign:
        raise _refused(text, f"is {found['number']}% an increase? Write +{found['number']}%, or a ratio like 1.10")
    if unit != "%" and sign:
        raise _refused(text, "a ratio has no sign: write 1.10, or +10%")
    if unit == "%":
        number = 1 + number / 100 * (-1 if sign == "-" else 1)
    if number <= 0:
        raise _refused(text, "a ratio is above 0")
    return number


def _normal(text: str) -> str:
    return " ".join(text.split())


def _refused(text: str, why: str) -> SettingsError:
    return SettingsError(f"--gate {text!r}: {why}. Examples: 'p95(ttft) <= 1.10', 'ttft <= +10%', 'missing == 0'")


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate with its outcome, the number that was compared, its interval, and the reason in one sentence."""

    gate: Gate
    outcome: GateOutcome
    value: float | None
    low: float | None
    high: float | None
    reason: str


# Judging


def judge_count(gate: Gate, counts: Mapping[str, float], pairs: int) -> GateResult:
    """Judge a count: it is exact, so it has no interval."""
    value = counts[gate.measure]
    if gate.kind is LimitKind.SHARE and gate.measure not in SHARES:
        if not pairs:
            return GateResult(gate, GateOutcome.INCONCLUSIVE, None, None, None, "there is no pair to take a share of")
        value /= pairs
    held = gate.holds(value)
    outcome = GateOutcome.PASSED if held else GateOutcome.FAILED
    shown = f"{value:.4g}"
    return GateResult(gate, outcome, value, None, None, f"{gate.measure} is {shown}")


def judge_time(gate: Gate, estimate: Estimate, noise: float = 1.0) -> GateResult:
    """Judge a time by effect and interval.

    `noise` is the largest ratio that runs of the same server show among themselves: an effect within it does not count,
    and where it is wider than the gate nothing can be decided.
    """
    is_ratio = gate.kind is LimitKind.RATIO
    value = estimate.ratio if is_ratio else estimate.second
    low, high = (estimate.low, estimate.high) if is_ratio else (estimate.second_low, estimate.second_high)

    def result(outcome: GateOutcome, reason: str) -> GateResult:
        return GateResult(gate, outcome, value, low, high, reason)

    if value is None:
        return result(GateOutcome.INCONCLUSIVE, f"no pair has a {gate.measure} in both runs that can be compared")
    if low is None or high is None:
        few = f"{estimate.pairs} pairs give no interval: record at least {FEWEST} answers"
        return result(GateOutcome.INCONCLUSIVE, few)
    band = f"{value:.3f} ({low:.3f} to {high:.3f})" if is_ratio else f"{value:.4g} s ({low:.4g} to {high:.4g})"
    up = gate.limits_from_above
    if is_ratio and noise > 1 and not gate.holds(noise if up else 1 / noise):
        return result(GateOutcome.INCONCLUSIVE, f"{band}: runs of the same server already differ by {noise:.3f}")
    # Nothing changed: a ratio of 1. A gate that demands an improvement (<= 0.9) is not met by that.
    unchanged = (min if up else max)(gate.limit, 1.0) if is_ratio else gate.limit
    excluded = low > unchanged if up else high < unchanged
    if not gate.holds(value):
        if excluded:
            return result(GateOutcome.FAILED, f"{band} is beyond the limit")
        return result(GateOutcome.INCONCLUSIVE, f"{band} is beyond the limit, but the interval holds {unchanged:g} too")
    if not gate.holds(high if up else low):
        reach = "the interval reaches beyond the limit: record more answers, or repeat"
        return result(GateOutcome.INCONCLUSIVE, f"{band}: {reach}")
    return result(GateOutcome.PASSED, f"{band} is within the limit")


def worst(outcomes: list[GateOutcome]) -> GateOutcome:
    """What all of them come to: a failure counts most, then what is not decided."""
    for outcome in (GateOutcome.FAILED, GateOutcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return GateOutcome.PASSED
