"""Compare two recordings of the same requests: which answers differ, and whether the second server is slower.

    Pairing ──▶ each pair: AnswerComparison and times ──▶ RunComparison
    RunComparison, one or several ──▶ gates ──▶ ComparisonReport with its exit code

Answers first, times second: times of different answers mean little, so both are shown, and only times of answers that
were complete on both sides are paired. Knows no file; what is read of a pair comes from two `Browser`s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from replayproxy.core.comparison.agreement_level import AgreementLevel, AnswerComparison, compare_answers
from replayproxy.core.comparison.content import AnswerContent, content_of
from replayproxy.core.comparison.gate import (
    TIMES,
    Gate,
    GateOutcome,
    GateResult,
    LimitKind,
    judge_count,
    judge_time,
    worst,
)
from replayproxy.core.comparison.statistic import CONFIDENCE, Estimate, Pairs, Statistic, estimates, over_runs
from replayproxy.errors import CassetteError
from replayproxy.model import Response, Timeline
from replayproxy.views.pairing import PairedRow, Pairing
from replayproxy.views.port import Browser

KEPT = 1000
"""Differing pairs that are kept with their differences; all are counted."""

SHOWN_STATISTICS = ("ratio", "p50", "p95", "p99")

ENOUGH_FOR_P99 = 100
"""Pairs below which a p99 is one of the two slowest answers, and is not shown."""


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """Two answers to the same request, and how they compare."""

    first: PairedRow
    second: PairedRow
    answers: AnswerComparison


@dataclass(slots=True)
class RunComparison:
    """Everything about two recordings of the same requests. `times` are in seconds, by the names of `gate.TIMES`."""

    names: tuple[str, str]
    pairing: Pairing
    levels: Counter[AgreementLevel] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """In how many pairs something of each kind differs."""
    differing: list[ComparedPair] = field(default_factory=list)
    """Pairs below the level `canonical` with a difference, the first KEPT of them."""
    added_paths: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {name: [] for name in TIMES})
    errors: tuple[int, int] = (0, 0)
    starved: int = 0
    """Pairs in which a recorder was late, so that gaps are not the server's."""
    stalled: int = 0
    other_lengths: int = 0
    """Pairs whose answers have another number of output tokens: their totals compare different work."""
    colder: int = 0
    """Pairs in which the second server had fewer prompt tokens in its cache."""
    unreadable: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """Pairs that were compared."""
        return self.levels.total()

    def below(self, level: AgreementLevel) -> int:
        """Pairs that agree less than that."""
        return sum(count for reached, count in self.levels.items() if reached < level)


def compare_run(
    names: tuple[str, str],
    pairing: Pairing,
    first: Browser,
    second: Browser,
    watch: Callable[[int], None] = lambda _: None,
) -> RunComparison:
    """Read and compare every pair. An exchange that cannot be read is named in `unreadable`, and the rest goes on."""
    run = RunComparison(names, pairing)
    errors = [0, 0]
    unreadable: list[str] = []
    for place, (one, other) in enumerate(pairing.pairs):
        watch(place)
        try:
            responses = first.response(one.number), second.response(other.number)
        except CassetteError as error:
            unreadable.append(str(error))
            continue
        contents = content_of(responses[0]), content_of(responses[1])
        answers = compare_answers(*responses, contents)
        _count(run, one, other, answers)
        errors[0] += not one.measured
        errors[1] += not other.measured
        if one.measured and other.measured:
            sides = [_times(*side) for side in zip((one, other), responses, contents, strict=True)]
            for name, value in sides[0].items():
                if name in sides[1]:
                    run.times[name].append((value, sides[1][name]))
    run.errors = errors[0], errors[1]
    run.unreadable = tuple(unreadable)
    return run


def _count(run: RunComparison, one: PairedRow, other: PairedRow, answers: AnswerComparison) -> None:
    run.levels[answers.level] += 1
    run.kinds.update({difference.kind for difference in answers.differences})
    run.added_paths.update(answers.shape.added)
    run.starved += one.starved or other.starved
    run.stalled += one.stalled or other.stalled
    run.other_lengths += answers.counted[0] != answers.counted[1]
    cached = answers.cached
    run.colder += cached[0] is not None and (cached[1] or 0) < cached[0]
    if answers.differences and len(run.differing) < KEPT:
        run.differing.append(ComparedPair(one, other, answers))


def _times(row: PairedRow, response: Response, content: AnswerContent) -> dict[str, float]:
    """What is measured of one answer, in seconds; what it does not say is absent."""
    found: dict[str, float] = {}
    if row.total_s is not None:
        found["total"] = row.total_s
    if row.ttft_s is not None:
        found["ttft"] = row.ttft_s
    if row.tpot_s is not None:
        found["tpot"] = row.tpot_s
    timeline = response.timeline
    if len(timeline.chunks) > 1 and not row.stalled:
        gaps = list(timeline.gaps())
        found["gap"] = sum(gaps) / len(gaps) / 1e9
        found["max_gap"] = max(gaps) / 1e9
        if (itl := _itl(content, timeline)) is not None:
            found["itl"] = itl
    return found


def _itl(content: AnswerContent, timeline: Timeline) -> float | None:
    """Time per output token between the first and the last content, where the server says how many tokens there are."""
    tokens = content.completion_tokens
    chunks = [piece.chunk for pieces in content.pieces.values() for piece in pieces]
    if not content.is_stream or tokens is None or tokens < 2 or not chunks:
        return None
    return (timeline.chunks[max(chunks)] - timeline.chunks[min(chunks)]) / (tokens - 1) / 1e9


# The verdict


@dataclass(frozen=True, slots=True)
class ComparisonPolicy:
    """What must hold. `level`: how far answers must agree. `partial`: what only one side has does not count.

    `min_runs`: repeated runs below which nothing is decided. `inconclusive` is the outcome that stands for an
    undecided one.
    """

    gates: tuple[Gate, ...] = ()
    level: AgreementLevel = AgreementLevel.TEXT
    partial: bool = False
    min_runs: int = 1
    inconclusive: GateOutcome = GateOutcome.INCONCLUSIVE
    confidence: float = CONFIDENCE
    noise: Mapping[str, float] = field(default_factory=dict)
    """By the text of a gate: the largest ratio between runs of the same server."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was judged, as JUnit has it: its name, its outcome, and why."""

    name: str
    outcome: GateOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """A time, with its statistics over all runs."""

    name: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """The whole comparison: what was judged, and what was measured."""

    runs: tuple[RunComparison, ...]
    checks: tuple[Check, ...]
    gates: tuple[GateResult, ...]
    times: tuple[MeasuredTime, ...]
    policy: ComparisonPolicy

    @property
    def outcome(self) -> GateOutcome:
        """What all checks and gates come to."""
        return worst([*(check.outcome for check in self.checks), *(gate.outcome for gate in self.gates)])

    @property
    def exit_code(self) -> int:
        """0 passed, 5 failed, 9 inconclusive; what is undecided may be declared to be either."""
        outcome = self.outcome
        if outcome is GateOutcome.INCONCLUSIVE:
            outcome = self.policy.inconclusive
        return {GateOutcome.PASSED: 0, GateOutcome.FAILED: 5, GateOutcome.INCONCLUSIVE: 9}[outcome]


def judge(runs: Sequence[RunComparison], policy: ComparisonPolicy) -> ComparisonReport:
    """Judge one or several runs: completeness, answers, then gates."""
    checks = [_enough(runs, policy), _complete(runs, policy), _agreed(runs, policy)]
    found = {name: _estimated(runs, name, policy) for name in TIMES}
    measured = tuple(
        MeasuredTime(name, tuple(found[name][statistic] for statistic in _shown(runs, name)))
        for name in TIMES
        if any(run.times[name] for run in runs)
    )
    gates = tuple(_judged(gate, runs, policy, found) for gate in policy.gates)
    return ComparisonReport(tuple(runs), tuple(check for check in checks if check is not None), gates, measured, policy)


def _enough(runs: Sequence[RunComparison], policy: ComparisonPolicy) -> Check | None:
    if not any(run.pairs for run in runs):
        why = "no request is on both sides, so nothing was compared"
        return Check("something was compared", GateOutcome.INCONCLUSIVE, why)
    if len(runs) < policy.min_runs:
        why = f"{len(runs)} of at least {policy.min_runs} runs: record more, interleaved"
        return Check("enough runs", GateOutcome.INCONCLUSIVE, why)
    return None


def _complete(runs: Sequence[RunComparison], policy: ComparisonPolicy) -> Check:
    missing = sum(len(run.pairing.missing) for run in runs)
    extra = sum(len(run.pairing.extra) for run in runs)
    unreadable = sum(len(run.unreadable) for run in runs)
    reason = f"{missing} only in the first, {extra} only in the second"
    if unreadable:
        reason += f", {unreadable} cannot be read"
    failed = unreadable or (not policy.partial and (missing or extra))
    return Check("the same requests", GateOutcome.FAILED if failed else GateOutcome.PASSED, reason)


def _agreed(runs: Sequence[RunComparison], policy: ComparisonPolicy) -> Check:
    below, pairs = sum(run.below(policy.level) for run in runs), sum(run.pairs for run in runs)
    name = f"answers agree at the level {policy.level.name.lower()}"
    outcome = GateOutcome.FAILED if below else GateOutcome.PASSED
    return Check(name, outcome, f"{below} of {pairs} do not" if below else f"{pairs} of {pairs} do")


def _shown(runs: Sequence[RunComparison], name: str) -> list[str]:
    few = max(len(run.times[name]) for run in runs) < ENOUGH_FOR_P99
    return [statistic for statistic in SHOWN_STATISTICS if not (few and statistic == "p99")]


def _estimated(runs: Sequence[RunComparison], name: str, policy: ComparisonPolicy) -> dict[str, Estimate]:
    """Every statistic of a time that is shown or that a gate asks for, from the same resamples."""
    statistics = {text: found for text in _shown(runs, name) if (found := Statistic.named(text)) is not None}
    for gate in policy.gates:
        if gate.measure == name and gate.statistic is not None:
            statistics.setdefault(gate.statistic.name, gate.statistic)
    each = [
        estimates(run.times[name], list(statistics.values()), seed=name, confidence=policy.confidence)
        for run in runs
        if run.times[name] or len(runs) == 1
    ]
    whole = [found[0] if len(found) == 1 else over_runs(found) for found in zip(*each, strict=True)]
    return dict(zip(statistics, whole or estimates([], list(statistics.values())), strict=True))


def _judged(
    gate: Gate, runs: Sequence[RunComparison], policy: ComparisonPolicy, found: Mapping[str, Mapping[str, Estimate]]
) -> GateResult:
    if gate.statistic is None:
        return judge_count(gate, counts_of(runs, policy.level), sum(run.pairs for run in runs))
    return judge_time(gate, found[gate.measure][gate.statistic.name], policy.noise.get(gate.text, 1.0))


def counts_of(runs: Sequence[RunComparison], level: AgreementLevel) -> dict[str, float]:
    """The numbers that gates can name, over all runs."""
    kinds: Counter[str] = Counter()
    for run in runs:
        kinds.update(run.kinds)
    pairs = sum(run.pairs for run in runs)
    errors = sum(run.errors[1] for run in runs)
    return {
        "pairs": pairs,
        "missing": sum(len(run.pairing.missing) for run in runs),
        "extra": sum(len(run.pairing.extra) for run in runs),
        "different": sum(run.below(level) for run in runs),
        "identical": pairs - sum(run.below(AgreementLevel.FRAMES) for run in runs),
        "regressions": sum(run.below(AgreementLevel.STRUCTURE) for run in runs),
        **{kind: kinds[kind] for kind in ("status", "text", "finish", "tools", "usage", "shape")},
        "errors": errors,
        "error_rate": errors / pairs if pairs else 0.0,
    }


WIDER = 1.5
"""By how much the noise is taken wider than the largest ratio that was seen: a few runs do not show the worst."""


def noise_of(gates: Sequence[Gate], same: Sequence[Mapping[str, Pairs]]) -> dict[str, float]:
    """The noise band of each gate on a ratio, from comparisons of a server with itself: the largest ratio, widened."""
    bands: dict[str, float] = {}
    for gate in gates:
        if gate.statistic is None or gate.kind is not LimitKind.RATIO:
            continue
        ratios = [
            estimate.ratio
            for times in same
            for estimate in estimates(times.get(gate.measure, ()), [gate.statistic])
            if estimate.ratio
        ]
        if ratios:
            bands[gate.text] = max(max(ratio, 1 / ratio) for ratio in ratios) ** WIDER
    return bands
