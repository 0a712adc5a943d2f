"""The hooks of the plugin, where no whole run is needed to see them; see also `test_replaying` and `test_recording`."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from replayproxy.pytest_plugin import SESSION
from replayproxy.pytest_plugin.process_result import CassetteUse, ItemResult, ProcessResult
from replayproxy.pytest_plugin.session import Session

TESTS = """
import pytest

@pytest.mark.replayproxy("chat.cassette")
def test_marked(): ...

@pytest.mark.replayproxy("chat.cassette")
def test_both(replayproxy): ...

def test_plain(): ...
"""


@pytest.fixture
def session(pytester: pytest.Pytester) -> Session:
    """The plugin of a run that has not begun."""
    return Session(pytester.parseconfig())


def test_a_test_that_has_only_the_marker_gets_the_environment(pytester: pytest.Pytester) -> None:
    """One that takes the fixture decides by itself; others are left alone."""
    marked, both, plain = pytester.genitems([pytester.getmodulecol(TESTS)])
    names = [[name for name in getattr(item, "fixturenames", ()) if "replay" in name] for item in (marked, both, plain)]
    assert names[0][0] == "replayproxy_env"
    assert "replayproxy_env" not in names[1]
    assert "replayproxy" in names[1]
    assert names[2] == []


def test_a_session_that_never_ran_may_end(pytester: pytest.Pytester) -> None:
    """As pytester ends one whose items were only collected: without an exit status, and without a report."""
    item = pytester.getitem(TESTS, "test_plain")
    assert item.config.stash[SESSION].suite is None


def test_a_test_that_failed_in_any_phase_did_not_pass(session: Session) -> None:
    """Also where its body passed."""
    for nodeid, when, outcome in (("a", "call", "passed"), ("b", "call", "passed"), ("b", "teardown", "failed")):
        session.pytest_runtest_logreport(
            pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]  # literals in a table
        )
    assert session.run.passed - session.run.failed == {"a"}


def test_the_controller_learns_what_workers_report(session: Session) -> None:
    """A worker that crashed has no output, and is missed by its number."""
    process = ProcessResult({"a": ItemResult("a", "a.cassette")}, {"a.cassette": CassetteUse("none")})
    for _ in range(2):
        session.pytest_testnodeready()
    session.pytest_testnodedown(SimpleNamespace(workeroutput={"replayproxy": json.dumps(process.document())}))
    session.pytest_testnodedown(SimpleNamespace())
    assert (session.run.workers, session.run.processes) == (2, [process])
