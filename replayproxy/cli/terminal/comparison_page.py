"""The page of `diff` and `compare` for people: coverage, answers, times, gates, verdict. Compares nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.core.comparison.agreement_level import AgreementLevel, AnswerComparison
from replayproxy.core.comparison.gate import GateOutcome
from replayproxy.core.comparison.statistic import Estimate
from replayproxy.views.comparison import ComparedPair, ComparisonReport, RunComparison
from replayproxy.views.comparison_fields import verdict_word
from replayproxy.views.comparison_words import (
    EXPLAINED,
    KINDS,
    LEVELS,
    NAMES,
    change_words,
    difference_line,
    ratio_words,
)
from replayproxy.views.pairing import PairedRow
from replayproxy.views.units import count, duration, plural

STYLES = {GateOutcome.PASSED: "green", GateOutcome.FAILED: "bold red", GateOutcome.INCONCLUSIVE: "yellow"}

PERCENTILES = ("p50", "p95", "p99")


def comparison_page(report: ComparisonReport, screen: Screen, *, limit: int, width: int | None) -> None:
    """The whole page."""
    for run in report.runs:
        _coverage(run, report, screen)
    for run in report.runs:
        _differing(run, report, screen, limit)
    if report.times:
        _times(report, screen, width)
    _notes(report, screen)
    for check in report.checks:
        if check.outcome is not GateOutcome.PASSED:
            _judged(screen, check.name, check.outcome, check.reason)
    for gate in report.gates:
        _judged(screen, gate.gate.text, gate.outcome, gate.reason)
    word = report.outcome.value
    screen.line(Span(f"exit {report.exit_code}", STYLES[report.outcome]), f" ({word})")


def _judged(screen: Screen, name: str, outcome: GateOutcome, reason: str) -> None:
    screen.prose(Span(outcome.value.ljust(13), STYLES[outcome]), Span(name, "bold"), f"   {reason}")


def _coverage(run: RunComparison, report: ComparisonReport, screen: Screen) -> None:
    first, second = run.names
    screen.prose(Span(first, "bold cyan"), " and ", Span(second, "bold cyan"))
    pairing = run.pairing
    joined = f"{count(run.pairs)} joined by {'what the driver noted' if pairing.noted else 'key and occurrence'}"
    alone: list[Span | str] = []
    for rows, side in ((pairing.missing, "first"), (pairing.extra, "second")):
        style = "red" if rows and not report.policy.partial else ""
        alone += [", ", Span(f"{count(len(rows))} only in the {side}", style)]
    screen.entry("requests", joined, *alone)
    for level in reversed(AgreementLevel):
        if pairs := run.levels[level]:
            style = "" if level >= report.policy.level else "red"
            screen.entry("answers", Span(f"{count(pairs)} {LEVELS[level]}", style))
    if run.kinds:
        words = [f"{KINDS[kind]} in {count(pairs)}" for kind, pairs in run.kinds.most_common()]
        screen.entry("different", ", ".join(words))
    if run.added_paths:
        some = ", ".join(path for path, _ in run.added_paths.most_common(4))
        more = f", and {count(len(run.added_paths) - 4)} more" if len(run.added_paths) > 4 else ""
        screen.entry("added", f"{some}{more}")


def _differing(run: RunComparison, report: ComparisonReport, screen: Screen, limit: int) -> None:
    level = report.policy.level
    shown = [pair for pair in run.differing if pair.answers.level < level]
    for pair in shown[:limit]:
        _pair(pair, screen)
    for rows, where in ((run.pairing.missing, "only in the first"), (run.pairing.extra, "only in the second")):
        for row in rows[:limit]:
            screen.line(Span(row.id, "bold"), f"  {where}  ", _facts(row))
    many = max(run.below(level), len(run.pairing.missing), len(run.pairing.extra))
    if many > limit:
        screen.line(Span(f"… {count(many - limit)} more: -n {many}, or --json", "dim"))


def _facts(row: PairedRow) -> str:
    return f"{row.name}  {row.model or ''}  {row.status or 'no head'} {row.ending if row.ending != 'complete' else ''}"


def _pair(pair: ComparedPair, screen: Screen) -> None:
    first, second = pair.first, pair.second
    screen.line(
        Span(f"{first.id}  {second.id}", "bold"),
        f"  {first.name}  {first.model or ''}  ",
        Span(verdict_word(pair.answers.level), "red"),
    )
    for difference in pair.answers.differences:
        screen.under(difference_line(difference))


def one_pair_page(pair: ComparedPair, screen: Screen) -> None:
    """Two exchanges side by side."""
    _pair(pair, screen)
    answers = pair.answers
    if not answers.differences:
        screen.under(LEVELS[answers.level])
    _tiers(answers, screen)
    for name, first, second in (
        ("TTFT", pair.first.ttft_s, pair.second.ttft_s),
        ("TPOT", pair.first.tpot_s, pair.second.tpot_s),
        ("Total", pair.first.total_s, pair.second.total_s),
    ):
        if first is not None and second is not None:
            change = f"   {100 * (second / first - 1):+.1f} %" if first else ""
            screen.entry(name, f"{duration(first)}, then {duration(second)}{change}")
    for name, pair_of in (("output", answers.counted), ("cached", answers.cached)):
        if any(value is not None for value in pair_of):
            shown = ["not stated" if value is None else count(value) for value in pair_of]
            screen.entry(name, f"{shown[0]} tokens, then {shown[1]}")


def _tiers(answers: AnswerComparison, screen: Screen) -> None:
    for name, paths in (
        ("added", answers.shape.added),
        ("removed", answers.shape.removed),
        ("type", tuple(f"{change.path}: {change.first}, then {change.second}" for change in answers.shape.changed)),
    ):
        if paths:
            screen.entry(name, ", ".join(paths))


# Times


def _times(report: ComparisonReport, screen: Screen, width: int | None) -> None:
    rows = [
        {"name": NAMES[time.name], "time": time.name} | {estimate.statistic: estimate for estimate in time.estimates}
        for time in report.times
    ]
    judged = {
        (gate.gate.measure, gate.gate.statistic.name): gate.outcome
        for gate in report.gates
        if gate.gate.statistic is not None
    }

    def style(statistic: str) -> Callable[[Mapping[str, Any]], str]:
        def of(row: Mapping[str, Any]) -> str:
            outcome = judged.get((row["time"], statistic))
            return STYLES[outcome] if outcome is not None else _style(row.get(statistic))

        return of

    def change(statistic: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: change_words(row.get(statistic))

    columns = [
        Column("time", lambda row: row["name"], left=True, style=lambda _: "bold"),
        Column("first p50", lambda row: _value(row["p50"].first), spare=3),
        Column("second p50", lambda row: _value(row["p50"].second), spare=2),
        Column("per request", lambda row: ratio_words(row["ratio"]), style=style("ratio")),
        # Of few pairs there is no p99: an empty column would take the room of one that says something.
        *(Column(name, change(name), style=style(name)) for name in PERCENTILES if any(name in row for row in rows)),
        Column("pairs", lambda row: count(row["p50"].pairs), style=lambda _: "dim", spare=4),
    ]
    measured = layout(columns, rows, width)
    screen.line(*measured.heading())
    screen.lines([measured.row(row) for row in rows])


def _style(estimate: Estimate | None) -> str:
    """A change that the interval does not explain by chance is seen, whether or not a gate asks for it."""
    if estimate is None or estimate.low is None or estimate.high is None or estimate.low <= 1 <= estimate.high:
        return ""
    return "yellow" if estimate.low > 1 else "cyan"


def _value(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _notes(report: ComparisonReport, screen: Screen) -> None:
    runs: Sequence[RunComparison] = report.runs
    notes = []
    if starved := sum(run.starved for run in runs):
        notes.append(f"{plural(starved, 'pair')} with a late recorder: gaps and TTFT there are partly its delay")
    if others := sum(run.other_lengths for run in runs):
        notes.append(f"{plural(others, 'pair')} with another number of output tokens: Total compares different work")
    if colder := sum(run.colder for run in runs):
        notes.append(f"{plural(colder, 'pair')} with fewer cached prompt tokens in the second run: its TTFT is longer")
    for run in runs:
        notes += run.unreadable[:3]
    for note in notes:
        screen.entry("note", note, style="yellow")


def comparison_explained(screen: Screen) -> None:
    """What each number means."""
    widest = max(map(len, EXPLAINED))
    for name, meaning in EXPLAINED.items():
        screen.entry(name.ljust(widest + 1), meaning, style="bold")
