"""The five modes, by what is on the disk afterwards and by how often the live server was asked."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests import recordings
from tests.plugin.suites import Suite

ASKS = """
import os

def test_asks(replayproxy):
    for word in os.environ["WORDS"].split():
        assert ask(replayproxy.base_url, word)[0] == 200
    print("OUTCOMES", *(call.outcome for call in replayproxy.calls))
    assert "FAIL" not in os.environ
"""


@pytest.fixture
def recorder(suite: Suite, upstream: str, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A suite of one test that asks for $WORDS."""
    suite.tests(test_chat=ASKS)
    return Recorder(suite, upstream, monkeypatch)


class Recorder:
    """Runs the suite in a mode."""

    def __init__(self, suite: Suite, upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.suite = suite
        self.upstream = upstream
        self.monkeypatch = monkeypatch
        self.cassette = suite.path / "cassettes" / "test_chat" / "test_asks.cassette"

    def run(self, mode: str, words: str, *flags: str) -> pytest.RunResult:
        """Run it."""
        self.monkeypatch.setenv("WORDS", words)
        return self.suite.run("-s", "--replayproxy-mode", mode, "--replayproxy-upstream", self.upstream, *flags)

    def outcomes(self, mode: str, words: str) -> str:
        """Run it, see it pass, and say what became of its requests."""
        ran = self.run(mode, words)
        ran.assert_outcomes(passed=1)
        (line,) = (line for line in ran.outlines if "OUTCOMES" in line)
        return line.partition("OUTCOMES ")[2]

    @property
    def recorded(self) -> list[str]:
        """What is on the cassette."""
        return prompts(self.cassette)

    @property
    def files(self) -> list[str]:
        """What lies around."""
        return sorted(path.name for path in self.cassette.parent.iterdir())


def prompts(cassette: Path) -> list[str]:
    """The prompts on a cassette, oldest first."""
    asked = [orjson.loads(exchange.request.body) for exchange in recordings.read(cassette)]
    return [body["messages"][0]["content"] for body in asked]


def test_once_records_a_cassette_that_does_not_exist(recorder: Recorder) -> None:
    """And replays it from then on; what is new is a miss."""
    assert recorder.outcomes("once", "a b a") == "record record record"
    assert recorder.recorded == ["a", "b", "a"]
    assert recorder.outcomes("once", "a b a") == "replay replay replay"
    recorder.run("once", "a c").assert_outcomes(failed=1)
    assert recorder.recorded == ["a", "b", "a"]
    assert recorder.outcomes("none", "a") == "replay"


def test_new_episodes_adds_what_is_missing(recorder: Recorder) -> None:
    """Also to a cassette that does not exist."""
    assert recorder.outcomes("new_episodes", "a b") == "record record"
    assert recorder.outcomes("new_episodes", "a c a") == "replay record record"
    assert recorder.recorded == ["a", "b", "c", "a"]


def test_all_replaces_the_cassette_when_its_test_passed(recorder: Recorder) -> None:
    """A failed one leaves it as it was, and says so."""
    recorder.outcomes("once", "a b")
    assert recorder.outcomes("all", "a") == "record"
    assert recorder.recorded == ["a"]
    recorder.monkeypatch.setenv("FAIL", "yes")
    ran = recorder.run("all", "c")
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        ["cassettes/test_chat/test_asks.cassette is as it was: test_chat.py::test_asks did not pass"]
    )
    assert recorder.recorded == ["a"]
    assert recorder.files == ["test_asks.cassette"]


def test_rewrite_deletes_the_cassette_first(recorder: Recorder) -> None:
    """Whatever becomes of the test."""
    recorder.outcomes("once", "a b")
    recorder.monkeypatch.setenv("FAIL", "yes")
    recorder.run("rewrite", "c").assert_outcomes(failed=1)
    assert recorder.recorded == ["c"]
    assert recorder.files == ["test_asks.cassette"]


def test_a_test_that_asks_for_nothing_has_a_cassette_too(recorder: Recorder) -> None:
    """Recorded once, it is found from then on."""
    assert recorder.outcomes("once", "") == ""
    assert recorder.outcomes("none", "") == ""


def test_tests_of_a_module_share_what_they_ask_alike(suite: Suite, upstream: str) -> None:
    """As in replay, where each begins at the first recording; so nothing is recorded that nobody will ask for."""
    suite.tests(
        test_chat="""
        def test_one(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == ask(replayproxy.base_url, "b")[0] == 200

        def test_two(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == ask(replayproxy.base_url, "a")[0] == 200
        """
    )
    layout = ("--replayproxy-layout", "module")
    suite.run(*layout, "--replayproxy-mode", "all", "--replayproxy-upstream", upstream).assert_outcomes(passed=2)
    assert prompts(suite.path / "cassettes" / "test_chat.cassette") == ["a", "b", "a"]
    report = suite.report(*layout)
    assert (report["served"], report["unused"]) == (4, 0)


@pytest.mark.parametrize("mode", ["all", "rewrite"])
def test_a_shared_cassette_is_recorded_anew_by_all_of_its_tests(suite: Suite, upstream: str, mode: str) -> None:
    """Before anything is asked for or deleted."""
    suite.tests(test_chat="def test_one(replayproxy): ...\ndef test_two(replayproxy): ...")
    cassette = suite.cassette("test_chat.cassette", "a")
    flags = ("--replayproxy-layout", "module", "--replayproxy-mode", mode, "--replayproxy-upstream", upstream)
    for some in (("-k", "one"), ("test_chat.py::test_one",)):
        ran = suite.run(*flags, *some)
        ran.assert_outcomes(errors=1, deselected=some[0] == "-k")
        ran.stdout.fnmatch_lines(["*not all tests of test_chat.py were selected*"])
    assert prompts(cassette) == ["a"]


def test_recording_needs_a_server(suite: Suite) -> None:
    """A sentence says where to name it."""
    suite.tests(test_chat="def test_one(replayproxy): ...")
    ran = suite.run("--replayproxy-mode", "once")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*mode once records, and has no server to ask: give --replayproxy-upstream URL"])


def test_in_ci_nothing_is_recorded(recorder: Recorder) -> None:
    """Unless the run is told so: a cassette that is missing there is missing."""
    recorder.monkeypatch.setenv("CI", "true")
    ran = recorder.run("once", "a")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*there is no cassette cassettes/test_chat/test_asks.cassette*"])
    ran = recorder.run("all", "a")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*CI is set, and mode all would record*"])
    recorder.run("once", "a", "--replayproxy-allow-record").assert_outcomes(passed=1)
    assert recorder.outcomes("once", "a") == "replay"
    recorder.run("new_episodes", "a b").assert_outcomes(failed=1)
    assert recorder.recorded == ["a"]


def test_what_is_typed_wins_then_the_narrowest(suite: Suite, upstream: str) -> None:
    """Command line, marker, fixture, ini file."""
    suite.tests(
        conftest="""
        @pytest.fixture(scope="module")
        def replayproxy_config():
            return {"mode": "new_episodes", "upstream": "http://127.0.0.1:9"}
        """,
        test_chat=f"""
        @pytest.mark.replayproxy(mode="none")
        def test_marked(replayproxy):
            assert not replayproxy.records

        @pytest.mark.replayproxy(upstream="{upstream}")
        def test_asks(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == 200
        """,
    )
    suite.cassette("test_chat/test_marked.cassette", "a")
    suite.run().assert_outcomes(passed=2)
    suite.run("--replayproxy-mode", "none").assert_outcomes(passed=2)
    ran = suite.run("--replayproxy-mode", "rewrite", "-k", "marked")
    ran.assert_outcomes(failed=1, deselected=1)
    ran = suite.run("--override-ini", "replayproxy_mode=nonsense")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(
        ["ERROR: replayproxy: replayproxy_mode 'nonsense' is not one of its values: choose from none, once, *"]
    )


def test_a_miss_may_be_forwarded(suite: Suite, upstream: str) -> None:
    """Where a marker says so: asked for live, and not recorded."""
    suite.tests(
        test_chat=f"""
        @pytest.mark.replayproxy("chat.cassette", on_miss="forward", upstream="{upstream}")
        def test_asks(replayproxy):
            assert ask(replayproxy.base_url, "a") == (200, "a!")
            assert ask(replayproxy.base_url, "b")[0] == 200
            assert [call.outcome for call in replayproxy.calls] == ["replay", "forward"]
        """
    )
    cassette = suite.cassette("chat.cassette", "a")
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["1 served, 0 missed, 1 forwarded, 0 unused in 1 cassette"])
    assert len(recordings.read(cassette)) == 1


def test_rules_and_ends_are_the_marker_s(suite: Suite) -> None:
    """What to ignore, what to do at the end of a list."""
    suite.tests(
        test_chat="""
        @pytest.mark.replayproxy("chat.cassette", match_ignore=["$.temperature"], at_end="cycle", speed=1)
        def test_asks(replayproxy):
            for temperature in range(3):
                assert ask(replayproxy.base_url, "a", temperature=temperature) == (200, "a!")
        """
    )
    suite.cassette("chat.cassette", "a")
    suite.run().assert_outcomes(passed=1)


def test_tests_that_differ_may_record_on_one_cassette(suite: Suite, upstream: str) -> None:
    """One after the other, for a cassette has one recorder; and one of them may only play."""
    suite.tests(
        test_chat=f"""
        def recorded(speed, mode="new_episodes"):
            return pytest.mark.replayproxy("chat.cassette", mode=mode, speed=speed, upstream="{upstream}")

        @recorded("max")
        def test_one(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == 200

        @recorded(2)
        def test_two(replayproxy):
            assert [ask(replayproxy.base_url, word)[0] for word in "ab"] == [200, 200]
            assert [call.outcome for call in replayproxy.calls] == ["replay", "record"]

        @recorded("max", "none")
        def test_three(replayproxy):
            assert [ask(replayproxy.base_url, word)[0] for word in "ab"] == [200, 200]

        @recorded("max")
        def test_four(replayproxy):
            assert [ask(replayproxy.base_url, word)[0] for word in "abc"] == [200, 200, 200]
        """
    )
    suite.run().assert_outcomes(passed=4)
    assert prompts(suite.path / "cassettes" / "chat.cassette") == ["a", "b", "c"]


def test_what_a_killed_run_has_left_is_not_taken_for_new(recorder: Recorder) -> None:
    """Its part lies where the next one will be."""
    recorder.outcomes("once", "old")
    recorder.cassette.rename(recorder.cassette.with_name(f".{recorder.cassette.name}.main-run.part"))
    assert recorder.outcomes("all", "a") == "record"
    assert recorder.recorded == ["a"]
    assert recorder.files == ["test_asks.cassette"]


def test_redaction_and_normalisers_are_the_marker_s(suite: Suite, upstream: str) -> None:
    """Recorded by its rules; and replayed by those on the cassette, whatever is said."""
    suite.tests(
        test_chat=f"""
        @pytest.mark.replayproxy(
            upstream="{upstream}", redact=["re:cust-[0-9]+"], match_normalise=["uuid"], match_header=["x-none"]
        )
        def test_asks(replayproxy):
            for word in ("5e0a6c1e-1111-4222-8333-123456789abc", "5e0a6c1e-1111-4222-8333-cba987654321"):
                assert ask(replayproxy.base_url, f"cust-4711 {{word}}")[0] == 200
        """
    )
    suite.run("--replayproxy-mode", "once").assert_outcomes(passed=1)
    (cassette,) = (suite.path / "cassettes" / "test_chat").iterdir()
    assert not any(prompt.startswith("cust-4711") for prompt in prompts(cassette))
    assert len({prompt.partition(" ")[0] for prompt in prompts(cassette)}) == 1
    suite.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["once", "new_episodes"])
def test_in_ci_a_cassette_that_is_not_there_names_the_way_out(
    suite: Suite, upstream: str, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Not the words that were typed just now; with the flag it is recorded."""
    suite.tests(test_chat="def test_asks(replayproxy):\n    assert ask(replayproxy.base_url, 'hello')[0] == 200")
    monkeypatch.setenv("CI", "1")
    flags = ("--replayproxy-mode", mode, "--replayproxy-upstream", upstream)
    ran = suite.run(*flags)
    ran.assert_outcomes(errors=1)
    said = " ".join(ran.stdout.str().split())
    assert f"Mode {mode} would record it, but the variable CI is set" in said
    assert "or add --replayproxy-allow-record" in said
    assert f"--replayproxy-mode {mode} " not in said
    suite.run(*flags, "--replayproxy-allow-record").assert_outcomes(passed=1)
