"""The result of `diff` and `compare` as one HTML document that needs no network: verdict, times with charts, answers.

Everything recorded (models, paths, texts, file names) is escaped by `charts.svg.tag`. Scripts there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from replayproxy.core.comparison.agreement_level import AgreementLevel
from replayproxy.core.comparison.gate import GateOutcome
from replayproxy.views.charts.distribution import cumulative
from replayproxy.views.charts.svg import Fragment, joined, tag
from replayproxy.views.comparison import ComparedPair, ComparisonReport, RunComparison
from replayproxy.views.comparison_fields import verdict_word
from replayproxy.views.comparison_words import EXPLAINED, LEVELS, NAMES, difference_line, pair_name, ratio_words
from replayproxy.views.pairing import PairedRow
from replayproxy.views.units import NOTHING, count, duration, plural

MOST_PAIRS = 200
"""Answers of one run that are shown; the JSON has all that are kept."""

DRAWN = ("ttft", "gap", "tpot", "total")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--surface); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { overflow-wrap: anywhere; } h2 { margin-top: 2rem; } h3 { margin: 1.2rem 0 0.2rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.5rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, .words th, .words td { text-align: left; vertical-align: top; }
.words th, .words td { white-space: normal; }
@media (max-width: 600px) { body { font-size: 14px; margin-top: 1rem; } h1 { font-size: 1.3rem; }
  th, td { padding: 0.15rem 0.35rem; } }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem 2rem; }
figure { margin: 0; } figcaption, .note { color: var(--quiet); }
pre { margin: 0.2rem 0; padding: 0.4rem 0.7rem; border-left: 3px solid var(--line); overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
dt { font-weight: 600; } .verdict { font-size: 1.1rem; font-weight: 600; }
.passed::before { content: "\\2713\\00a0"; } .failed::before { content: "\\2717\\00a0"; }
.inconclusive::before { content: "?\\00a0"; } .failed { color: var(--bad); font-weight: 600; }
.inconclusive { color: var(--b); font-weight: 600; }
"""


def comparison_html(report: ComparisonReport, style: str) -> str:
    """The whole document. `style` is the style sheet of the charts."""
    first, second = report.runs[0].names
    title = f"{first} and {second}" if len(report.runs) == 1 else f"{plural(len(report.runs), 'pair')} of recordings"
    head = tag(
        "head",
        Fragment('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        tag("title", f"Comparison of {title}"),
        tag("style", Fragment(style + STYLE)),
    )
    body = tag(
        "body",
        tag("h1", title),
        tag("p", f"{report.outcome.value}, exit code {report.exit_code}", class_=f"verdict {report.outcome.value}"),
        _judged(report),
        *_times(report),
        *(part for run in report.runs for part in _run(run, report)),
        tag("h2", "What each number means"),
        tag("dl", *(joined(tag("dt", name), tag("dd", meaning)) for name, meaning in EXPLAINED.items())),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _table(headings: Sequence[str], rows: Sequence[Fragment], class_: str | None = None) -> Fragment:
    heading = tag("tr", *(tag("th", name, scope="col") for name in headings))
    return tag("div", tag("table", tag("thead", heading), tag("tbody", *rows), class_=class_), class_="wide")


def _judged(report: ComparisonReport) -> Fragment:
    every: list[tuple[str, GateOutcome, str]] = [
        *((check.name, check.outcome, check.reason) for check in report.checks),
        *((gate.gate.text, gate.outcome, gate.reason) for gate in report.gates),
    ]
    rows = [
        tag("tr", tag("th", name, scope="row"), tag("td", outcome.value, class_=outcome.value), tag("td", reason))
        for name, outcome, reason in every
    ]
    return _table(("check or gate", "outcome", "why"), rows, "words")


def _times(report: ComparisonReport) -> Iterator[Fragment]:
    if not report.times:
        return
    yield tag("h2", "Times")
    rows = [
        tag(
            "tr",
            tag("th", NAMES[time.name] if estimate is time.estimates[0] else "", scope="row"),
            tag("td", "per request" if estimate.statistic == "ratio" else estimate.statistic),
            *(tag("td", NOTHING if side is None else duration(side)) for side in (estimate.first, estimate.second)),
            tag("td", ratio_words(estimate)),
            tag("td", count(estimate.pairs)),
        )
        for time in report.times
        for estimate in time.estimates
    ]
    yield _table(("time", "statistic", "first", "second", "change", "pairs"), rows)
    drawn = [(name, _sides(report.runs, name)) for name in DRAWN]
    yield tag("div", *(_drawn(name, *sides) for name, sides in drawn if len(sides[0]) > 1), class_="charts")
    yield tag("p", "Solid: the first. Dashed: the second. The share of answers that are not slower.", class_="note")


def _sides(runs: Sequence[RunComparison], name: str) -> tuple[list[float], list[float]]:
    pairs = [pair for run in runs for pair in run.times[name]]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _drawn(name: str, first: list[float], second: list[float]) -> Fragment:
    chart = cumulative(f"Share of answers that are not slower: {NAMES[name]}", {"first": first, "second": second})
    return tag("figure", tag("figcaption", NAMES[name]), chart)


def _run(run: RunComparison, report: ComparisonReport) -> Iterator[Fragment]:
    yield tag("h2", f"Answers of {run.names[0]} and {run.names[1]}" if len(report.runs) > 1 else "Answers")
    levels = [(LEVELS[level], run.levels[level]) for level in reversed(AgreementLevel) if run.levels[level]]
    yield _table(
        ("how far they agree", "answers"),
        [tag("tr", tag("td", words), tag("td", count(pairs))) for words, pairs in levels],
    )
    shown = [pair for pair in run.differing if pair.answers.level < report.policy.level]
    for pair in shown[:MOST_PAIRS]:
        yield from _pair(pair)
    if (more := run.below(report.policy.level) - min(len(shown), MOST_PAIRS)) > 0:
        yield tag("p", f"{plural(more, 'more answer')} with differences: diff --json has them.", class_="note")
    for rows, where in ((run.pairing.missing, "only in the first"), (run.pairing.extra, "only in the second")):
        if rows:
            yield tag("h3", f"{plural(len(rows), 'request')} {where}")
            yield _table(("id", "request", "model", "status"), [_alone(row) for row in rows[:MOST_PAIRS]], "words")
    for note in run.unreadable[:MOST_PAIRS]:
        yield tag("p", note, class_="failed")


def _pair(pair: ComparedPair) -> Iterator[Fragment]:
    word = verdict_word(pair.answers.level)
    yield tag("h3", f"{pair_name(pair)} {pair.first.model or ''} ", tag("span", word, class_="failed"))
    yield from (tag("pre", difference_line(difference)) for difference in pair.answers.differences)


def _alone(row: PairedRow) -> Fragment:
    ending = "" if row.ending == "complete" else f" {row.ending}"
    cells = (row.id, row.name, row.model or "", f"{row.status or 'no head'}{ending}")
    return tag("tr", *(tag("td", cell) for cell in cells))
