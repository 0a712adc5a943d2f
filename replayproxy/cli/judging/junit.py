"""A run as JUnit XML, for GitLab, Jenkins and whoever else reads that: a test case a cause.

XML 1.0 has no control characters at all, so what a stranger's text holds of them is spelled out.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from replayproxy.cli.judging.account import explanation, headline
from replayproxy.cli.judging.verdict import CommandResult, RunPolicy, Verdict, told
from replayproxy.core.visible import visible_lines
from replayproxy.proxy.result import RunResult
from replayproxy.views.units import plural

_NOT_XML = re.compile("[\ufffe\uffff]")


def junit(
    report: RunResult, verdict: Verdict, demands: RunPolicy, *, seconds: float, ended: CommandResult | None = None
) -> bytes:
    """One suite: each cause of misses, unused and vacuous where they were asked about, the command, what was served."""
    suite = ElementTree.Element("testsuite", name="replayproxy")
    cases = [
        _case(
            suite,
            f"{cause.id} {headline(cause.miss)}",
            "replayproxy.misses",
            failure=(cause.miss.code, f"{plural(cause.times, 'time')}: {explanation(cause.miss)}"),
        )
        for cause in report.causes
    ]
    if demands.fail_unused:
        named = "\n".join(f"{one.cassette} {one.id} {one.method} {one.path}" for one in report.unused)
        said = f"{plural(len(report.unused), 'recording')} asked for by nobody\n{named}"
        cases.append(_case(suite, "no unused recordings", "replayproxy", failure=("unused", said) if named else None))
    if demands.must_serve:
        vacuous = ("vacuous", verdict.sentence if verdict.word == "vacuous" else "nothing was served")
        cases.append(_case(suite, "something was served", "replayproxy", failure=vacuous if report.vacuous else None))
    if ended is not None:
        failure = ("child", ended.sentence) if ended.code else None
        cases.append(_case(suite, "the command's exit code", "replayproxy", failure=failure))
    if report.damage:
        cases.append(_case(suite, "the cassettes can be read", "replayproxy", failure=("damaged", report.damage)))
    if verdict.word == "degraded":
        cases.append(_case(suite, "recording", "replayproxy", failure=("degraded", verdict.sentence)))
    if not report.vacuous:
        cases.append(_case(suite, told(report), "replayproxy"))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("time", f"{seconds:.3f}")
    whole = ElementTree.Element("testsuites", name="replayproxy", tests=suite.get("tests", ""))
    whole.set("failures", suite.get("failures", ""))
    whole.append(suite)
    ElementTree.indent(whole)
    document: bytes = ElementTree.tostring(whole, "utf-8", xml_declaration=True)
    return document + b"\n"


def _case(
    suite: ElementTree.Element, name: str, group: str, *, failure: tuple[str, str] | None = None
) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", name=_sayable(name), classname=group)
    if failure is not None:
        code, text = failure
        said = ElementTree.SubElement(case, "failure", type=code, message=_sayable(text.partition("\n")[0]))
        said.text = _sayable(text)
    return case


def _sayable(text: str) -> str:
    return _NOT_XML.sub("�", visible_lines(text))
