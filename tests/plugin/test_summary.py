"""What a run of pytest prints about its recordings, and when it fails for them."""

from __future__ import annotations

import pytest

from replayproxy.model import RecordingRef
from replayproxy.proxy.result import RecordingInfo, RunResult
from replayproxy.pytest_plugin.suite_result import CassetteResult, SuiteResult
from replayproxy.pytest_plugin.summary import lines, reasons_to_fail

UNUSED = RecordingInfo("a.cassette", "7f3a1c02", RecordingRef("rp1:00", 0), "POST", "/v1/chat/completions")


def suite(
    *, unused: int = 0, late: int = 0, orphans: tuple[str, ...] = (), not_judged: str | None = None
) -> SuiteResult:
    """A run of two tests on one cassette."""
    result = RunResult.merged(
        [
            RunResult(
                mode="replay",
                cassettes=("a.cassette",),
                recordings=3,
                served=2,
                forwarded=0,
                recorded=0,
                dropped=0,
                simulated=0,
                causes=(),
                unused=(UNUSED,) * min(unused, 1),
                lateness_max=0.0,
            )
        ]
    )
    line = CassetteResult("a.cassette", 2, {"replay": 2}, result, not_judged)
    missed = {"cassette": "a.cassette", "sentence": "no recording"}
    return SuiteResult((line,), (), (missed,) * late, 1, orphans)


@pytest.mark.parametrize(
    ("run", "loud", "verbose", "expected"),
    [
        (suite(), True, False, ["2 served, 0 missed, 0 unused in 1 cassette"]),
        (
            suite(unused=1),
            True,
            False,
            [
                "2 served, 0 missed, 1 unused in 1 cassette",
                "a.cassette has 1 that no test asked for (-v names them)",
            ],
        ),
        (
            suite(unused=1),
            True,
            True,
            [
                "2 served, 0 missed, 1 unused in 1 cassette",
                "a.cassette: 2 served, 0 missed in 2 tests; unused 1",
                "  unused  7f3a1c02  POST /v1/chat/completions",
            ],
        ),
        (suite(unused=1), False, False, ["2 served, 0 missed, 1 unused in 1 cassette"]),
        (
            suite(unused=1, not_judged="it was recorded in this run"),
            True,
            True,
            [
                "2 served, 0 missed in 1 cassette",
                "a.cassette: 2 served, 0 missed in 2 tests; unused not judged: it was recorded in this run",
            ],
        ),
        (
            suite(late=1, orphans=("b.cassette",)),
            True,
            False,
            [
                "2 served, 1 missed, 0 unused, 1 orphaned cassette in 1 cassette",
                "missed after its test was over, in a.cassette: no recording",
                "b.cassette is of no test any more: delete it, or name it with the marker of a test",
            ],
        ),
    ],
)
def test_one_line_and_what_needs_attention(run: SuiteResult, loud: bool, verbose: bool, expected: list[str]) -> None:
    """`loud` names what is not used, `verbose` each cassette; notes come after the first line."""
    assert list(lines(run, [], loud=loud, verbose=verbose)) == expected
    assert list(lines(run, ["a note"], loud=loud, verbose=verbose))[1] == "a note"


@pytest.mark.parametrize(
    ("run", "unused", "failed", "reasons"),
    [
        (suite(unused=1, orphans=("b.cassette",)), "warn", False, []),
        (
            suite(unused=1, orphans=("b.cassette",)),
            "fail",
            False,
            [
                "1 recording was not used by any test, and --replayproxy-unused is fail: delete what is named above"
                " with prune",
                "1 cassette belongs to no test any more, and --replayproxy-unused is fail: delete the files named"
                " above",
            ],
        ),
        (suite(unused=1, not_judged="x"), "fail", False, []),
        (suite(late=2), "ignore", False, ["2 requests missed after the test was over"]),
        (suite(), "warn", True, ["something could not be written, see above"]),
    ],
)
def test_a_run_fails_although_its_tests_passed(run: SuiteResult, unused: str, failed: bool, reasons: list[str]) -> None:
    """For late misses and files that were not written always, for what is unused on demand."""
    assert reasons_to_fail(run, unused, failed=failed) == reasons
