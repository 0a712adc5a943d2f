"""Write a run as JUnit XML, for GitLab, Jenkins and other CI servers: one test case per cause.

XML 1.0 allows no control characters, so those in text from outside are escaped.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from replayproxy.cli.judging.account import explanation, headline
from replayproxy.core.visible import visible_lines
from replayproxy.proxy.result import RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, Verdict, answers_in_words
from replayproxy.views.units import plural

_NOT_XML = re.compile("[\ufffe\uffff]")


def junit(
    report: RunResult, verdict: Verdict, demands: RunPolicy, *, seconds: float, ended: CommandResult | None = None
) -> bytes:
    """Return one suite: misses by cause, injected faults, the conditions of `demands`, the command, the answers."""
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
    cases += [
        _case(
            suite,
            f"{client.id} {client.fault}: {client.method} {client.path}",
            "replayproxy.faults",
            failure=(client.outcome, client.sentence) if demands.assert_resilient and client.is_mishandled else None,
            output=f"{client.outcome}: {client.sentence}",
        )
        for fault in report.faults
        for client in fault.clients
    ]
    cases += [
        _case(suite, f"carried {carried.fresh}", "replayproxy.carried", output=carried.sentence)
        for carried in report.carried
    ]
    if demands.assert_resilient:
        missing = ("vacuous", verdict.sentence) if not report.injected and not report.vacuous else None
        cases.append(_case(suite, "a fault was injected", "replayproxy", failure=missing))
    if demands.fail_unused:
        named = "\n".join(
            f"{recording.cassette} {recording.id} {recording.method} {recording.path}" for recording in report.unused
        )
        text = f"{plural(len(report.unused), 'recording')} not used\n{named}"
        cases.append(_case(suite, "no unused recordings", "replayproxy", failure=("unused", text) if named else None))
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
        cases.append(_case(suite, answers_in_words(report), "replayproxy"))
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
    suite: ElementTree.Element, name: str, group: str, *, failure: tuple[str, str] | None = None, output: str = ""
) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", name=_xml_text(name), classname=group)
    if failure is not None:
        code, text = failure
        element = ElementTree.SubElement(case, "failure", type=code, message=_xml_text(text.partition("\n")[0]))
        element.text = _xml_text(text)
    if output:
        ElementTree.SubElement(case, "system-out").text = _xml_text(output)
    return case


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("�", visible_lines(text))
