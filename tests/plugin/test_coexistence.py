"""Beside others: pytest-recording with its own cassettes, and runs without us."""

from __future__ import annotations

import json

import pytest

from tests.plugin.suites import Suite

ASKS = """
def test_asks(replayproxy):
    assert ask(replayproxy.base_url, "hello")[0] == 200
"""

VCR = """
interactions:
- request: {body: null, headers: {}, method: GET, uri: "http://example.com/"}
  response:
    body: {string: from VCR}
    headers: {}
    status: {code: 200, message: OK}
version: 1
"""


def test_pytest_recording_has_its_own_tests(suite: Suite) -> None:
    """Both are loaded, each answers its own; also where both block the network."""
    suite.tests(
        test_both="""
        import urllib.request

        def test_ours(replayproxy):
            assert ask(replayproxy.base_url, "hello") == (200, "hello!")

        @pytest.mark.vcr
        def test_theirs():
            assert urllib.request.urlopen("http://example.com/").read() == b"from VCR"

        @pytest.mark.block_network(allowed_hosts=["127.0.0.1"])
        def test_blocked_by_both(replayproxy):
            assert ask(replayproxy.base_url, "hello") == (200, "hello!")
            with pytest.raises(RuntimeError):
                urllib.request.urlopen("http://192.0.2.1/")
        """
    )
    suite.cassette("test_both/test_ours.cassette", "hello")
    suite.cassette("test_both/test_blocked_by_both.cassette", "hello")
    (suite.path / "cassettes" / "test_both" / "test_theirs.yaml").write_text(VCR)
    # Run as a process, because VCR.py has warnings about what it patches.
    for flags in ((), ("--replayproxy-block-network", "--block-network", "--allowed-hosts", "127.0.0.1")):
        ran = suite.run(*flags, "-W", "default", own_process=True, with_all=True)
        ran.assert_outcomes(passed=3)
        ran.stdout.fnmatch_lines(["2 served, 0 missed, 0 unused in 2 cassettes"])


def test_without_the_plugin(suite: Suite) -> None:
    """`-p no:replayproxy` leaves nothing of it."""
    suite.tests(test_plain="def test_plain(): pass", test_chat=ASKS)
    ran = suite.run("-p", "no:replayproxy")
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["E  *fixture 'replayproxy' not found"])


def test_disabled_it_skips_or_talks_to_the_live_server(suite: Suite, upstream: str) -> None:
    """Nothing is served, recorded or judged."""
    suite.tests(test_chat=ASKS)
    ran = suite.run("--disable-replayproxy")
    ran.assert_outcomes(skipped=1)
    ran.stdout.fnmatch_lines(["*--disable-replayproxy, and no --replayproxy-upstream to talk to instead"])
    ran = suite.run("--disable-replayproxy", "--replayproxy-upstream", upstream)
    ran.assert_outcomes(passed=1)
    assert "= replayproxy =" not in ran.stdout.str()
    assert not (suite.path / "cassettes").exists()


def test_a_run_without_the_fixture_says_nothing(suite: Suite) -> None:
    """And writes nothing."""
    suite.tests(test_plain="def test_plain(): pass")
    ran = suite.run("--replayproxy-report", "report.json", "--replayproxy-unused", "fail")
    assert ran.ret == 0
    assert "= replayproxy =" not in ran.stdout.str()
    assert not (suite.path / "report.json").exists()


def test_the_report_names_tests_and_misses(suite: Suite) -> None:
    """Equal misses once, with their number; no port and no time outside of `run`."""
    suite.tests(
        test_chat="""
        def test_asks(replayproxy):
            for _ in range(3):
                ask(replayproxy.base_url, "good bye")
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "hello")
    report = suite.report()
    (miss,) = report["misses"]
    assert (miss["test"], miss["code"], miss["times"]) == ("test_chat.py::test_asks", "nothing_close", 3)
    assert miss["cassette"] == "cassettes/test_chat/test_asks.cassette"
    del report["run"]
    assert "127.0.0.1" not in json.dumps(report)
    assert str(suite.path) not in json.dumps(report)


def test_every_option_has_a_twin_in_the_ini_file(suite: Suite) -> None:
    """Of the same name."""
    said = suite.run("--help").stdout.str()
    options = {word.strip(",=") for word in said.split() if word.startswith("--replayproxy-")}
    named = {option.partition("=")[0].strip("()") for option in options}
    assert len(named) == 10
    for option in named:
        assert f"replayproxy_{option.removeprefix('--replayproxy-').replace('-', '_')} (" in said, option


@pytest.mark.parametrize("flags", [("-x",), ("--setup-only",), ("--collect-only",), ("--fixtures",)])
def test_other_ways_to_run_pytest(suite: Suite, flags: tuple[str, ...]) -> None:
    """Nothing hangs, nothing is left open."""
    suite.tests(test_chat=ASKS)
    suite.cassette("test_chat/test_asks.cassette", "hello")
    assert suite.run(*flags).ret in (0, pytest.ExitCode.NO_TESTS_COLLECTED)


BOTH = [
    "@pytest.mark.vcr\ndef test_both(replayproxy): ...",
    "@pytest.mark.vcr\n@pytest.mark.replayproxy('a.cassette')\ndef test_both(): ...",
    "pytestmark = pytest.mark.vcr\ndef test_both(replayproxy_env): ...",
    "@pytest.mark.vcr('a.yaml')\nclass TestIt:\n    def test_both(self, replayproxy): ...",
    "@pytest.mark.vcr\ndef test_both(request):\n    request.getfixturevalue('replayproxy')",
]


def test_vcr_and_replayproxy_on_one_test_is_an_error_at_once(suite: Suite, upstream: str) -> None:
    """Not at the next run, when the proxy has another port; nothing is recorded by either."""
    suite.tests(**{f"test_{number}": test for number, test in enumerate(BOTH)})
    flags = ("--replayproxy-mode", "once", "--replayproxy-upstream", upstream, "--record-mode", "once")
    ran = suite.run(*flags, "-W", "default", own_process=True, with_all=True)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.assert_outcomes(errors=len(BOTH) - 1, failed=1)
    said = [line for line in ran.outlines if line.startswith("replayproxy: this test is marked with vcr and uses repl")]
    assert len(said) == len(BOTH)
    assert not list(suite.path.rglob("*.cassette"))
    # What is asked for within a test comes too late for vcr, which has begun by then.
    assert {path.parent.name for path in suite.path.rglob("*.yaml")} <= {f"test_{len(BOTH) - 1}"}


def test_with_one_of_them_switched_off_the_other_has_the_test(suite: Suite) -> None:
    """`--disable-recording` is pytest-recording's."""
    suite.tests(test_it="@pytest.mark.vcr\n" + ASKS.strip())
    suite.cassette("test_it/test_asks.cassette", "hello")
    suite.run("--disable-recording", "-W", "default", own_process=True, with_all=True).assert_outcomes(passed=1)
