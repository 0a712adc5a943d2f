"""What a run leaves for other programs, where a stranger's text is in it: JUnit, GitHub's log and summary, JSON."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from replayproxy.cli.judging import actions, receipt
from replayproxy.cli.judging.account import account
from replayproxy.cli.judging.junit import junit
from replayproxy.cli.judging.receipt import RunContext
from replayproxy.cli.terminal.screen import Screen
from replayproxy.core.faults.conduct import Outcome
from replayproxy.model import Request
from replayproxy.proxy.fault_result import ClientFault, FaultResult
from replayproxy.proxy.result import Cause, RunResult
from replayproxy.proxy.verdict import CommandResult, RunPolicy, Verdict, judge
from replayproxy.views.miss import Miss
from tests.proxy.test_verdict import BAD, GOOD, STRICT, TEST, UNUSED, reported

HOSTILE = "/v1/a|b<script>\x1b[2J\u202e\x00\ufffe::error::x\r\n::stop-commands::y%0A`c`@all,title=z:q"


def missed(path: str, times: int = 1, name: str = "m-0001", scope: str = "") -> Cause:
    """A request to this path that nothing answers."""
    return Cause(name, Miss("no_match", Request("POST", path), "rp1:00", scope), times)


def judged(report: RunResult, demands: RunPolicy = STRICT, ended: CommandResult | None = GOOD) -> Verdict:
    """Its verdict."""
    return judge(report, demands, ended=ended)


# JUnit

RESILIENT = RunPolicy(must_serve=True, assert_resilient=True)
BADLY = FaultResult.of(
    "cut@3",
    [
        ClientFault("f-0001", "cut@3", "POST", HOSTILE, "", Outcome.GAVE_UP, "did not ask again"),
        ClientFault("f-0002", "cut@3", "POST", "/v1/x", "", Outcome.RECOVERED, "asked again"),
    ],
    {},
)

SUITES: list[tuple[str, RunResult, RunPolicy, CommandResult | None, list[str]]] = [
    ("good", reported(), STRICT, GOOD, []),
    ("missed", reported(causes=(missed("/v1/a"), missed("/v1/b", name="m-0002"))), TEST, GOOD, ["no_match"] * 2),
    ("unused", reported(unused=UNUSED), STRICT, GOOD, ["unused"]),
    ("unused, and nobody asked", reported(unused=UNUSED), TEST, GOOD, []),
    ("vacuous", reported(served=0), TEST, GOOD, ["vacuous"]),
    ("vacuous, as allowed", reported(served=0), RunPolicy(), GOOD, []),
    ("faults handled badly", reported(faults=(BADLY,)), RESILIENT, GOOD, ["gave_up"]),
    ("the same, and nobody asked", reported(faults=(BADLY,)), TEST, GOOD, []),
    ("no fault happened", reported(), RESILIENT, GOOD, ["vacuous"]),
    ("child", reported(), TEST, BAD, ["child"]),
    ("no child", reported(), RunPolicy(), None, []),
]


@pytest.mark.parametrize(
    ("report", "demands", "ended", "failures"), [row[1:] for row in SUITES], ids=[row[0] for row in SUITES]
)
def test_junit_counts_what_it_has(
    report: RunResult, demands: RunPolicy, ended: CommandResult | None, failures: list[str]
) -> None:
    """`tests` and `failures` are those of the cases, at both levels; what was served is a case that passes."""
    document = junit(report, judged(report, demands, ended), demands, seconds=1.5, ended=ended)
    whole = ElementTree.fromstring(document)  # noqa: S314  it is ours
    (suite,) = whole
    types = [failure.get("type") for failure in suite.iter("failure")]
    assert types == failures
    for level in (whole, suite):
        assert (level.get("tests"), level.get("failures")) == (str(len(suite)), str(len(failures)))
    assert any("from recordings" in (case.get("name") or "") for case in suite) is bool(report.served)


def test_junit_is_xml_whatever_was_asked() -> None:
    """Characters that XML does not have are spelled out."""
    report = reported(causes=(missed(HOSTILE, scope=HOSTILE),))
    suite = ElementTree.fromstring(junit(report, judged(report), STRICT, seconds=0, ended=GOOD))  # noqa: S314  it is ours
    name = next(suite.iter("testcase")).get("name") or ""
    assert "<script>\\x1b[2J\\u202e\\x00�" in name


# GitHub


def test_no_text_of_a_stranger_is_a_workflow_command() -> None:
    """One line an error; percent, line ends, colon and comma escaped as GitHub says."""
    report = reported(causes=(missed(HOSTILE),))
    lines = list(actions.error_lines(report, judged(report)))
    assert len(lines) == 2
    assert all(line.startswith("::error title=replayproxy%3A ") and len(line.splitlines()) == 1 for line in lines)
    title, message = lines[1].removeprefix("::error title=").split("::", 1)
    assert not set(title) & set(":,\r\n")
    assert "%250A" in message


def test_a_good_run_has_no_errors_and_ten_are_enough() -> None:
    """GitHub shows ten of a step."""
    assert list(actions.error_lines(reported(), judged(reported()))) == []
    report = reported(causes=tuple(missed(f"/v1/{number}", name=f"m-{number:04}") for number in range(30)))
    assert len(list(actions.error_lines(report, judged(report)))) == 10


def test_the_summary_is_one_table_whatever_was_asked() -> None:
    """A cell stays a cell, markup stays text, nobody is mentioned."""
    report = reported(causes=(missed(HOSTILE), *(missed(f"/v1/{number}") for number in range(200))))
    said = actions.summary(report, judged(report))
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + actions.ROWS + 1
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}
    for mark in ("<script>", "@all", "\x1b", "`c`"):
        assert mark not in said.replace("\\`", "")
    assert "101 more" in rows[-1]


def test_the_summary_counts_faults() -> None:
    """By the fault's text, with what the clients did."""
    report = reported(faults=(BADLY,))
    assert "| cut&#64;3 | 2 | gave\\_up 1, recovered 1 |" in actions.summary(report, judged(report))


def test_people_see_each_fault() -> None:
    """No control character of a request reaches the terminal."""
    printed = io.StringIO()
    report = reported(faults=(BADLY,))
    account(report, judged(report), Screen(printed))
    assert "FAULT  cut@3  x2   gave_up 1, recovered 1" in printed.getvalue()
    assert "f-0001  MISHANDLED  POST" in printed.getvalue()
    assert "\x1b" not in printed.getvalue()


def test_no_summary_where_github_names_no_file(tmp_path: Path) -> None:
    """Elsewhere nothing is written."""
    actions.append_summary({}, "text")
    actions.append_summary({"GITHUB_STEP_SUMMARY": str(tmp_path / "a.md")}, "one\n")
    actions.append_summary({"GITHUB_STEP_SUMMARY": str(tmp_path / "a.md")}, "two\n")
    assert (tmp_path / "a.md").read_text() == "one\ntwo\n"


# The receipt


@pytest.mark.parametrize(
    ("served", "upstream", "isolated"), [(2, False, True), (2, True, False), (0, False, False), (0, True, False)]
)
def test_isolated_is_said_only_of_what_is(served: int, upstream: bool, isolated: bool) -> None:
    """Nobody to ask, and something served."""
    report = reported(served=served)
    around = RunContext(0, 1_000_000_000, upstream=upstream)
    said = receipt.report_document(report, judged(report, RunPolicy()), around)
    assert said["isolated"] is isolated
    assert (said["started"], said["ended"]) == ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z")


def test_a_command_line_that_is_no_utf_8_is_spelled_all_the_same() -> None:
    """A receipt is always written."""
    report = replace(reported(), cassettes=("a\udcff.cassette",))
    ended = CommandResult(("echo", "\udcff"), 0)
    around = RunContext(0, 0, upstream=False)
    said = orjson.loads(receipt.to_json(receipt.report_document(report, judged(report, ended=ended), around, ended)))
    assert said["command"] == ["echo", "\\udcff"]
