"""A test of pytest breaks its own answers, and sees what its client did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import tape

TESTS = """
import json, urllib.error, urllib.request
import pytest

def ask(playback):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], "stream": True}
    request = urllib.request.Request(
        playback.base_url + "/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        return urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as error:
        return error.code

@pytest.mark.replayproxy("chat.cassette", fail=["status=503,first=1"])
@pytest.mark.parametrize("number", [1, 2])
def test_recovers(replayproxy, number):
    assert ask(replayproxy) == 503
    assert b"[DONE]" in ask(replayproxy)
    (fault,) = replayproxy.client_faults
    assert (fault.fault, fault.outcome) == ("status=503,first=1", "recovered"), fault.sentence
    assert [call.outcome for call in replayproxy.calls] == ["fault", "replay"]

@pytest.mark.replayproxy("chat.cassette")
def test_without_faults(replayproxy):
    assert b"[DONE]" in ask(replayproxy)
    assert replayproxy.client_faults == []

@pytest.mark.replayproxy("chat.cassette", fail="cutt@1")
def test_no_fault(replayproxy):
    pass
"""


def test_each_test_has_its_own_faults(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in its own scope; a text that is no fault fails its test with the sentence that says how to write it."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    folder = Path(pytester.path) / "cassettes"
    folder.mkdir()
    tape(folder / "chat.cassette", "a")
    pytester.makepyfile(TESTS)
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q")
    ran.assert_outcomes(passed=3, errors=1)
    ran.stdout.fnmatch_lines(["*fail 'cutt@1' is not a fault: did you mean cut?*"])
