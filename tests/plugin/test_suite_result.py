"""The result of a run is the same, however its tests were distributed; it is a report that `prune` accepts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.cli.judging.receipt import ReportFile
from replayproxy.proxy.result import RecordingInfo, RunResult
from replayproxy.pytest_plugin.process_result import CassetteUse, ItemResult, ProcessResult
from replayproxy.pytest_plugin.suite_result import SuiteResult, first_not_passed, suite_result

TESTS = [f"test_chat.py::test_{number}" for number in range(6)]


def recording(number: int) -> dict[str, Any]:
    """A recording as a report names it; test N uses recording N, and no test uses the last."""
    names = {"id": f"{number:08x}", "occurrence": 0, "key": f"rp1:{number}", "cassette": "chat.cassette"}
    return names | {"method": "POST", "path": "/v1/chat/completions"}


def played(*unused: int) -> dict[str, Any]:
    """The result of a proxy that did not use these of seven recordings."""
    result = replace(
        RunResult.empty("replay", ("chat.cassette",)),
        recordings=7,
        unused=tuple(RecordingInfo.from_document(recording(number)) for number in unused),
        digests={"chat.cassette": "00"},
    )
    return result.document()


def processes(workers: list[int]) -> list[ProcessResult]:
    """What the workers report when test N ran on worker `workers[N]`."""
    reported = []
    for worker in sorted(set(workers)):
        own = [number for number, where in enumerate(workers) if where == worker]
        reported.append(
            ProcessResult(
                tests={TESTS[number]: ItemResult(TESTS[number], "chat.cassette", {"replay": 1}) for number in own},
                cassettes={
                    "chat.cassette": CassetteUse("none", played(*(number for number in range(7) if number not in own)))
                },
                selected={"test_chat.py": TESTS},
            )
        )
    return reported


def without_run(suite: SuiteResult) -> dict[str, Any]:
    """What must be equal."""
    document = suite.document()
    del document["run"]
    return document


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_it_does_not_matter_which_worker_ran_a_test(workers: list[int]) -> None:
    """One process or four: the same lines, the same recording unused."""
    suite = suite_result(processes(workers), set(TESTS))
    assert without_run(suite) == without_run(suite_result(processes([0] * 6), set(TESTS)))
    assert suite.sentence == "6 served, 0 missed, 1 unused in 1 cassette"
    assert suite.unused == (recording(6),)


@pytest.mark.parametrize(
    ("narrowed", "named", "passed", "crashed", "why"),
    [
        ([], False, TESTS, False, None),
        ([], True, TESTS, False, None),
        (["*"], False, TESTS, False, None),
        (["*"], True, TESTS, False, "it has a name of its own, and not all files ran"),
        (["test_other.py"], False, TESTS, False, None),
        (["test_chat.py"], False, TESTS, False, "not all tests of test_chat.py were selected"),
        ([], False, TESTS[1:], False, "test_chat.py::test_0 did not pass"),
        ([], False, TESTS, True, "a worker ended before it could tell"),
    ],
)
def test_a_cassette_is_not_judged_where_other_tests_may_use_it(
    narrowed: list[str], named: bool, passed: list[str], crashed: bool, why: str | None
) -> None:
    """The line says why."""
    reported = processes([0, 0, 0, 1, 1, 1])
    reported[1].narrowed = narrowed
    reported[1].cassettes["chat.cassette"].named = named
    (line,) = suite_result(reported, set(passed), crashed=crashed).lines
    assert line.not_judged == why
    assert (line.unused is None) == (why is not None)


def test_a_cassette_that_was_recorded_is_not_judged() -> None:
    """By any process."""
    reported = processes([0, 0, 0, 1, 1, 1])
    reported[1].cassettes["chat.cassette"].is_recorded = True
    assert suite_result(reported, set(TESTS)).lines[0].not_judged == "it was recorded in this run"


def test_the_test_that_did_not_pass_is_named() -> None:
    """The first of them, of this cassette alone."""
    reported = processes([0, 0, 0, 1, 1, 1])
    assert first_not_passed(reported, "chat.cassette", set(TESTS)) is None
    assert first_not_passed(reported, "chat.cassette", set(TESTS[2:])) == "test_chat.py::test_0"
    assert first_not_passed(reported, "other.cassette", set()) is None


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_the_report_is_one_that_prune_reads(workers: list[int]) -> None:
    """The whole run as one `RunResult`, with the digest of the cassette; judged as `exec` judges it."""
    suite = suite_result(processes(workers), set(TESTS))
    for fail_unused, word, code in ((False, "passed", 0), (True, "unused", 4)):
        report = ReportFile.from_document(suite.document(fail_unused=fail_unused))
        assert (report.verdict, report.exit_code, dict(report.not_judged)) == (word, code, {})
        assert (report.result.served, report.result.recordings, report.result.misses) == (6, 7, 0)
        assert [one.document() for one in report.result.unused] == [recording(6)]
        assert report.result.digests == {"chat.cassette": "00"}
    report = ReportFile.from_document(suite.document(exit_code=1))
    assert (report.verdict, report.exit_code) == ("child", 1)


def test_a_report_with_misses_is_not_of_a_good_run() -> None:
    """Also of those after their test was over; a cassette that is not judged has no unused recordings."""
    miss = {"code": "no_match", "times": 2, "method": "POST", "path": "/v1/chat/completions", "sentence": "no"}
    for late in (False, True):
        reported = processes([0, 0, 0, 1, 1, 1])
        if late:
            reported[1].late = [{"cassette": "chat.cassette", **miss}]
        else:
            reported[1].tests[TESTS[3]].misses = [miss]
        report = ReportFile.from_document(suite_result(reported, set(TESTS[1:])).document())
        assert (report.verdict, report.exit_code, report.result.misses) == ("misses", 3, 2)
        assert report.not_judged == {"chat.cassette": "test_chat.py::test_0 did not pass"}
        assert report.result.unused == ()
