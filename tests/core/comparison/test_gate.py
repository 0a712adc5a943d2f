"""Gates: their grammar, and that a time fails by effect and interval, and passes by its whole interval."""

from __future__ import annotations

import pytest

from replayproxy.core.comparison.gate import COUNTS, Gate, GateOutcome, judge_count, judge_time, worst
from replayproxy.core.comparison.statistic import Estimate
from replayproxy.errors import SettingsError

PASSED, FAILED, UNDECIDED = GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "measure", "statistic", "op", "limit", "kind"),
    [
        ("p95(ttft) <= 1.10", "ttft", "p95", "<=", 1.10, "ratio"),
        ("p95(ttft)<=1.10", "ttft", "p95", "<=", 1.10, "ratio"),
        ("  p95 ( TTFT )  <=  1.10  ", "ttft", "p95", "<=", 1.10, "ratio"),
        ("median(gap)<1.05x", "gap", "p50", "<", 1.05, "ratio"),
        ("ttft <= +10%", "ttft", "ratio", "<=", 1.10, "ratio"),
        ("tpot<=-5%", "tpot", "ratio", "<=", 0.95, "ratio"),
        ("mean(total) >= 0.9", "total", "mean", ">=", 0.9, "ratio"),
        ("p99(ttft) < 500ms", "ttft", "p99", "<", 0.5, "seconds"),
        ("max_gap <= 2s", "max_gap", "p50", "<=", 2.0, "seconds"),
        ("missing == 0", "missing", None, "==", 0, "count"),
        ("missing=0", "missing", None, "==", 0, "count"),
        ("text <= 1%", "text", None, "<=", 0.01, "share"),
        ("error_rate <= 0.01", "error_rate", None, "<=", 0.01, "share"),
    ],
)
def test_the_grammar(text: str, measure: str, statistic: str | None, op: str, limit: float, kind: str) -> None:
    """With and without spaces; ratios, per cent, times, counts and shares."""
    gate = Gate.parse(text)
    found = gate.statistic and gate.statistic.name
    assert (gate.measure, found, gate.op, gate.kind) == (measure, statistic, op, kind)
    assert gate.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not one condition"),
        ("p95(ttft) <= 1.1 and p50(gap) < 2", "not one condition"),
        ("p95(latency) <= 1.1", "latency is not measured"),
        ("best(ttft) <= 1.1", "best is not a statistic"),
        ("ttft == 1", "never exactly"),
        ("ttft <= 10%", "an increase? Write +10%"),
        ("ttft <= +1.1", "has no sign"),
        ("ratio(ttft) <= 500ms", "a ratio has no unit"),
        ("ttft <= -100%", "above 0"),
        ("ttft <= -3ms", "not negative"),
        ("p95(missing) == 0", "without p95"),
        ("missing == 3ms", "is a count"),
    ],
)
def test_what_is_no_gate_is_refused(text: str, why: str) -> None:
    """With what is wrong, and examples."""
    with pytest.raises(SettingsError) as refused:
        Gate.parse(text)
    assert why in str(refused.value)
    assert "p95(ttft) <= 1.10" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (1.20, 1.15, 1.25, FAILED),  # effect and interval
        (1.12, 1.02, 1.22, FAILED),  # beyond the limit, and surely slower
        (1.20, 0.95, 1.45, UNDECIDED),  # an effect that chance explains
        (1.00, 0.97, 1.03, PASSED),
        (0.80, 0.78, 0.82, PASSED),
        (1.05, 1.02, 1.08, PASSED),  # surely slower, but not by so much
        (1.05, 0.95, 1.15, UNDECIDED),  # too noisy to see a change of 10 %
        (1.00, None, None, UNDECIDED),
        (None, None, None, UNDECIDED),
    ],
)
def test_a_ratio_needs_effect_and_interval(
    value: float | None, low: float | None, high: float | None, outcome: GateOutcome
) -> None:
    """A pass says that a change of that size would have been seen."""
    gate = Gate.parse("p95(ttft) <= 1.10")
    assert judge_time(gate, Estimate("p95", 100, 1.0, value, value, low, high)).outcome is outcome


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [(0.8, 0.75, 0.85, PASSED), (1.0, 0.95, 1.05, FAILED), (0.92, 0.85, 0.99, UNDECIDED)],
)
def test_an_improvement_may_be_demanded(value: float, low: float, high: float, outcome: GateOutcome) -> None:
    """A limit below 1: that nothing changed does not meet it."""
    gate = Gate.parse("ttft <= 0.9")
    assert judge_time(gate, Estimate("ratio", 100, None, None, value, low, high)).outcome is outcome


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [(0.4, 0.35, 0.45, PASSED), (0.6, 0.55, 0.65, FAILED), (0.6, 0.45, 0.7, UNDECIDED), (0.4, 0.3, 0.55, UNDECIDED)],
)
def test_a_time_of_the_second_run(value: float, low: float, high: float, outcome: GateOutcome) -> None:
    """Judged by its own interval."""
    gate = Gate.parse("p95(ttft) < 500ms")
    estimate = Estimate("p95", 100, 0.1, value, value / 0.1, 1, 9, low, high)
    assert judge_time(gate, estimate).outcome is outcome


def test_noise_wider_than_the_gate_decides_nothing() -> None:
    """A server that differs from itself by 15 % cannot be judged by 10 %."""
    gate, slower = Gate.parse("ttft <= 1.10"), Estimate("ratio", 100, None, None, 1.3, 1.25, 1.35)
    assert judge_time(gate, slower, noise=1.05).outcome is FAILED
    assert judge_time(gate, slower, noise=1.15).outcome is UNDECIDED


def test_a_count_is_exact() -> None:
    """It has no interval; of no pairs there is no share."""
    counts = dict.fromkeys(COUNTS, 0.0) | {"text": 3, "pairs": 100}
    assert judge_count(Gate.parse("text <= 3"), counts, 100).outcome is PASSED
    assert judge_count(Gate.parse("text <= 2%"), counts, 100).outcome is FAILED
    assert judge_count(Gate.parse("missing == 0"), counts, 100).outcome is PASSED
    assert judge_count(Gate.parse("text <= 2%"), counts, 0).outcome is UNDECIDED


def test_the_worst_counts() -> None:
    """A failure, else what is undecided; no gate at all has passed."""
    assert worst([PASSED, UNDECIDED, FAILED]) is FAILED
    assert worst([PASSED, UNDECIDED]) is UNDECIDED
    assert worst([]) is PASSED
