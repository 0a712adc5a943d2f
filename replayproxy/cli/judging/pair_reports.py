"""The hand-overs of a pair for people and for CI servers: lines, and JUnit XML with one test case per code."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from replayproxy.cli.judging.comparison_reports import xml_text
from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.core.pd.hand_over import CODES
from replayproxy.core.stats import summarise
from replayproxy.views.pair_check import PairCheck
from replayproxy.views.units import count, duration, plural

SHOWN = 20
"""Exchanges with findings that are listed."""

TIMES = {"prefill": "Prefill", "handover": "Hand-over", "decode_ttft": "Decode TTFT"}


def pair_page(check: PairCheck, screen: Screen) -> None:
    """One line per exchange with findings, what each code means, times, and the verdict."""
    for one in check.judged[:SHOWN]:
        for finding in one.findings:
            screen.prose(f"{check.path}: {one.id} {one.request} ", Span(finding.code, "bold red"), f": {finding.text}")
    if len(check.judged) > SHOWN:
        screen.line(Span(f"… {count(len(check.judged) - SHOWN)} more exchanges: --json", "dim"))
    for text in check.unreadable:
        screen.line(text)
    for code, times in check.codes.most_common():
        screen.entry(code, f"{count(times)}: {CODES[code]}", style="bold")
    for name, values in check.times.items():
        if (summary := summarise(values)) is not None:
            screen.entry(
                TIMES[name], f"p50 {duration(summary.p50)}, p99 {duration(summary.p99)}, max {duration(summary.max)}"
            )
    if check.suspicion is not None:
        screen.entry("note", check.suspicion, style="yellow")
    screen.prose(f"{check.path}: {_verdict(check)}")


def _verdict(check: PairCheck) -> str:
    alone = f", and {plural(check.alone, 'request')} that went to a decode server alone" if check.alone else ""
    if not check.handed_over:
        return f"no hand-over from a prefill to a decode was recorded{alone}: there is nothing to judge"
    hand_overs = plural(check.handed_over, "hand-over")
    if not check.codes:
        return f"{hand_overs}, each used once by its decode{alone}"
    return f"{hand_overs}{alone}; {plural(check.codes.total(), 'finding')}"


def pair_junit(checks: Sequence[PairCheck]) -> bytes:
    """One suite per cassette, one test case per code; a cassette without a hand-over is an error."""
    whole = ElementTree.Element("testsuites", name="replayproxy verify --pair")
    totals = {"tests": 0, "failures": 0, "errors": 0}
    for check in checks:
        suite = ElementTree.SubElement(whole, "testsuite", name=xml_text(check.path))
        counts = dict.fromkeys(totals, 0)
        for code, meaning in CODES.items():
            case = ElementTree.SubElement(suite, "testcase", name=code, classname="replayproxy.pair")
            counts["tests"] += 1
            if code in check.codes:
                counts["failures"] += 1
                lines = [
                    f"{one.id} {one.request}: {finding.text}"
                    for one in check.judged
                    for finding in one.findings
                    if finding.code == code
                ]
                _fail(case, "failure", meaning, [*lines[:SHOWN], *_more(len(lines))])
        case = ElementTree.SubElement(suite, "testcase", name="hand-overs were recorded", classname="replayproxy.pair")
        counts["tests"] += 1
        if not check.handed_over or check.unreadable:
            counts["errors"] += 1
            _fail(case, "error", _verdict(check), check.unreadable)
        for name, number in counts.items():
            suite.set(name, str(number))
            totals[name] += number
    for name, number in totals.items():
        whole.set(name, str(number))
    ElementTree.indent(whole)
    document: bytes = ElementTree.tostring(whole, "utf-8", xml_declaration=True)
    return document + b"\n"


def _more(lines: int) -> list[str]:
    return [f"… {lines - SHOWN} more"] if lines > SHOWN else []


def _fail(case: ElementTree.Element, kind: str, message: str, lines: Sequence[str]) -> None:
    element = ElementTree.SubElement(case, kind, message=xml_text(message))
    element.text = xml_text("\n".join(lines))
