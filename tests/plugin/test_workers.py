"""xdist: workers read the same cassette, and what they tell is one account."""

from __future__ import annotations

import pytest

from tests.plugin.suites import Suite

FIFTY = """
pytestmark = pytest.mark.replayproxy("chat.cassette")

@pytest.mark.parametrize("number", range(50))
def test_asks(replayproxy, number):
    prompt = f"question {number}"
    assert ask(replayproxy.base_url, prompt) == (200, f"{prompt}!")
    # Others ask this too, at the same time: it is everybody's first, and everybody's second.
    assert [ask(replayproxy.base_url, "hello") for _ in range(2)] == [(200, "hello!")] * 2
"""

QUESTIONS = [f"question {number}" for number in range(50)]


@pytest.mark.timeout(600)  # six starts of pytest, on whatever cores are left
def test_many_workers_on_one_cassette(suite: Suite) -> None:
    """Green, and the same report as of one process; with one prompt changed exactly that test fails."""
    suite.tests(test_chat=FIFTY)
    suite.cassette("chat.cassette", *QUESTIONS, "hello", "hello", "never asked")
    reports = []
    for workers in (4, 0):
        report = suite.report("-n", str(workers))
        assert report.pop("run")["processes"] == (workers or 1)
        reports.append(report)
    assert reports[0] == reports[1]
    (line,) = reports[0]["cassettes"]
    assert (line["tests"], line["served"], line["missed"], line["recordings"]) == (50, 150, 0, 53)
    assert len(line["unused"]) == reports[0]["unused"] == 1

    suite.tests(test_chat=FIFTY.replace("question {number}", "question {number}{'?' * (number == 17)}"))
    ran = suite.run("-n", "2", "--replayproxy-report", "report.json")
    ran.assert_outcomes(passed=49, failed=1)
    ran.stdout.fnmatch_lines(["147 served, 1 missed in 1 cassette", "FAILED test_chat.py::test_asks[[]17[]] *"])
    ran.stdout.fnmatch_lines(
        [
            "replayproxy: a request of this test found no answer on cassettes/chat.cassette",
            "Closest * (cassettes/chat.cassette), the same except:",
            "  $.messages[[]0[]].content  recorded  question 17",
            "  *received  question 17[?]",
        ]
    )


def test_a_cassette_that_a_worker_crashed_on_is_not_judged(suite: Suite) -> None:
    """Nobody knows what it had asked for."""
    suite.tests(
        test_chat="""
        import os

        pytestmark = pytest.mark.replayproxy("chat.cassette")

        @pytest.mark.parametrize("number", range(4))
        def test_asks(replayproxy, number):
            if number == 1:
                os._exit(1)
            ask(replayproxy.base_url, "hello")
        """
    )
    suite.cassette("chat.cassette", "hello", "never asked")
    report = suite.report("-n", "2")
    (line,) = report["cassettes"]
    assert (line["unused"], line["unjudged"]) == (None, "a worker ended before it could tell")


def test_workers_record_cassettes_of_their_own_tests(suite: Suite, upstream: str) -> None:
    """One for each test: nothing needs to be put together, and no part is left."""
    suite.tests(
        test_chat="""
        @pytest.mark.parametrize("number", range(6))
        def test_asks(replayproxy, number):
            assert ask(replayproxy.base_url, f"question {number}")[0] == 200
        """
    )
    flags = ("-n", "2", "--replayproxy-upstream", upstream)
    for mode in ("once", "all", "rewrite"):
        suite.run(*flags, "--replayproxy-mode", mode).assert_outcomes(passed=6)
        names = [path.name for path in (suite.path / "cassettes" / "test_chat").iterdir()]
        assert len(names) == 6
        assert all(name.startswith("test_asks-") and name.endswith(".cassette") for name in names)
    report = suite.report()
    assert (report["served"], report["missed"], report["unused"]) == (6, 0, 0)


@pytest.mark.parametrize("mode", ["once", "new_episodes", "all", "rewrite"])
def test_workers_record_one_cassette(suite: Suite, upstream: str, mode: str) -> None:
    """Each records a part; in the end there is one cassette with everything, and no part is left."""
    suite.tests(
        test_chat="""
        import os

        @pytest.mark.parametrize("number", range(int(os.environ.get("TESTS", 12))))
        def test_asks(replayproxy, number):
            assert ask(replayproxy.base_url, "everybody's")[0] == 200
            assert ask(replayproxy.base_url, f"question {number} with sk-proj-{'k' * 40}")[0] == 200
        """
    )
    flags = ("--replayproxy-layout", "module")
    record = (*flags, "--replayproxy-mode", mode, "--replayproxy-upstream", upstream)
    if mode != "once":
        with pytest.MonkeyPatch.context() as few:
            few.setenv("TESTS", "2")
            suite.run(*record).assert_outcomes(passed=2)
    suite.run(*record, "-n", "2").assert_outcomes(passed=12)
    assert [path.name for path in (suite.path / "cassettes").iterdir()] == ["test_chat.cassette"]
    report = suite.report(*flags)
    # What several workers have recorded of equal requests is one recording, as it would be in one process.
    assert (report["served"], report["missed"], report["unused"]) == (24, 0, 0)
    (line,) = report["cassettes"]
    assert line["recordings"] == 13
