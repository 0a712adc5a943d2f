"""A comparison for CI servers: JUnit XML with one test case per check, gate and differing pair; Markdown for a job.

What a recording says stands in both, so control characters are made visible, and Markdown gets no markup of a stranger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from replayproxy.core.comparison.gate import GateOutcome
from replayproxy.core.visible import visible, visible_lines
from replayproxy.views.comparison import ComparisonReport
from replayproxy.views.comparison_fields import verdict_word
from replayproxy.views.comparison_words import NAMES, difference_line, pair_name, ratio_words
from replayproxy.views.units import duration, plural

MOST_CASES = 100
"""Differing pairs that have a test case of their own."""

_NOT_XML = re.compile("[\ufffe\uffff]")


def comparison_junit(report: ComparisonReport, name: str) -> bytes:
    """One suite: checks, gates, then differing pairs. Undecided ones are errors, not failures, and not passed."""
    suite = ElementTree.Element("testsuite", name=f"replayproxy {name}")
    for check in report.checks:
        _case(suite, check.name, "replayproxy.checks", check.outcome, check.reason)
    for gate in report.gates:
        _case(suite, gate.gate.text, "replayproxy.gates", gate.outcome, gate.reason)
    cases = 0
    for run in report.runs:
        for pair in run.differing:
            if pair.answers.level >= report.policy.level or cases == MOST_CASES:
                continue
            cases += 1
            text = "\n".join(difference_line(difference) for difference in pair.answers.differences)
            _case(suite, pair_name(pair), "replayproxy.answers", GateOutcome.FAILED, text)
    found = list(suite.iter("testcase"))
    counts = {kind: str(sum(case.find(kind[:-1]) is not None for case in found)) for kind in ("failures", "errors")}
    whole = ElementTree.Element("testsuites", name=f"replayproxy {name}")
    for attribute, value in {"tests": str(len(found)), **counts}.items():
        whole.set(attribute, value)
        suite.set(attribute, value)
    whole.append(suite)
    ElementTree.indent(whole)
    document: bytes = ElementTree.tostring(whole, "utf-8", xml_declaration=True)
    return document + b"\n"


def _case(suite: ElementTree.Element, name: str, group: str, outcome: GateOutcome, reason: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", name=xml_text(name), classname=group)
    if outcome is GateOutcome.PASSED:
        return
    kind = "failure" if outcome is GateOutcome.FAILED else "error"
    element = ElementTree.SubElement(case, kind, type=outcome.value, message=xml_text(reason.partition("\n")[0]))
    element.text = xml_text(reason)


def xml_text(text: str) -> str:
    """Text of a stranger as XML 1.0 can hold it."""
    return _NOT_XML.sub("\ufffd", visible_lines(text))


# Markdown

_MARKS = {GateOutcome.PASSED: "✅", GateOutcome.FAILED: "❌", GateOutcome.INCONCLUSIVE: "❔"}

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~-])")

MOST_ROWS = 20


def comparison_markdown(report: ComparisonReport) -> str:
    """A summary for a job's page: the verdict, gates, times, and the first answers that differ."""
    return "\n".join(_markdown(report)) + "\n"


def _markdown(report: ComparisonReport) -> Iterator[str]:
    first, second = (_plain(name) for name in report.runs[0].names)
    pairs = sum(run.pairs for run in report.runs)
    yield f"### {_MARKS[report.outcome]} {report.outcome.value}: {first} and {second}, {plural(pairs, 'pair')}"
    yield ""
    yield "| check | | |"
    yield "|---|---|---|"
    for name, outcome, reason in (
        *((check.name, check.outcome, check.reason) for check in report.checks),
        *((f"`{gate.gate.text}`", gate.outcome, gate.reason) for gate in report.gates),
    ):
        yield f"| {name} | {_MARKS[outcome]} {outcome.value} | {_plain(reason)} |"
    if report.times:
        yield ""
        yield "| time | statistic | first | second | ratio | pairs |"
        yield "|---|---|---:|---:|---:|---:|"
        for time in report.times:
            for estimate in time.estimates:
                sides = ["" if value is None else duration(value) for value in (estimate.first, estimate.second)]
                ratio = ratio_words(estimate)
                cells = (NAMES[time.name], estimate.statistic, *sides, ratio, str(estimate.pairs))
                yield f"| {' | '.join(cells)} |"
    differing = [pair for run in report.runs for pair in run.differing if pair.answers.level < report.policy.level]
    if differing:
        yield ""
        yield "| answer | | first difference |"
        yield "|---|---|---|"
        for pair in differing[:MOST_ROWS]:
            line = _plain(difference_line(pair.answers.differences[0]))
            yield f"| {_plain(pair_name(pair))} | {verdict_word(pair.answers.level)} | {line} |"
        if len(differing) > MOST_ROWS:
            yield ""
            yield f"{plural(len(differing) - MOST_ROWS, 'more answer')} differ."


def _plain(text: str) -> str:
    """Text of a stranger, so that it is text: no markup, no cell of its own, no line."""
    return _SPECIAL.sub(r"\\\1", visible(text))
