"""A test with the fixture talks to its cassette; what the cassette does not have fails the test."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from replayproxy.core.timing import STALL
from replayproxy.pytest_plugin import options
from tests.plugin.suites import Suite

ASKS = """
def test_asks(replayproxy):
    assert ask(replayproxy.base_url, "hello") == (200, "hello!")
"""


def test_a_test_is_answered_from_its_cassette(suite: Suite) -> None:
    """`cassettes/<module>/<test>.cassette`, beside the test's file."""
    suite.tests(test_chat=ASKS)
    suite.cassette("test_chat/test_asks.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*= replayproxy =*", "1 served, 0 missed, 0 unused in 1 cassette"])


def test_a_miss_fails_the_test_that_swallowed_it(suite: Suite) -> None:
    """It is the test that fails, not its teardown; and it says what to do."""
    suite.tests(
        test_chat="""
        def test_asks(replayproxy):
            assert ask(replayproxy.base_url, "hello") == (200, "hello!")
            assert ask(replayproxy.base_url, "good bye") == (404, "nothing_close")
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "replayproxy: a request of this test found no answer on cassettes/test_chat/test_asks.cassette",
            "*no recording matches this POST /v1/chat/completions*",
            "Record what is missing: pytest 'test_chat.py::test_asks' --replayproxy-mode new_episodes *",
        ]
    )
    assert "AssertionError" not in ran.stdout.str()


def test_a_failure_of_the_test_itself_comes_first(suite: Suite) -> None:
    """The misses stand below it, in a section of their own; the failure is counted once."""
    suite.tests(
        test_chat="""
        def test_asks(replayproxy):
            status, text = ask(replayproxy.base_url, "good bye")
            assert text == "good bye!"
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        [
            "E  *assert 'nothing_close' == 'good bye!'",
            "*- Captured replayproxy call -*",
            "replayproxy: a request of this test found *",
        ]
    )


def test_a_miss_after_the_body_is_an_error_of_the_teardown(suite: Suite) -> None:
    """A fixture that says good-bye asks too."""
    suite.tests(
        test_chat="""
        @pytest.fixture
        def agent(replayproxy):
            yield
            ask(replayproxy.base_url, "good bye")

        def test_asks(agent, replayproxy):
            assert ask(replayproxy.base_url, "hello") == (200, "hello!")
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines(["*no recording matches this POST /v1/chat/completions*"])


def test_a_miss_in_the_setup_is_told_with_what_failed(suite: Suite) -> None:
    """Also when it was another fixture that could not do without the answer."""
    suite.tests(
        test_chat="""
        @pytest.fixture
        def agent(replayproxy):
            assert ask(replayproxy.base_url, "good morning")[0] == 200

        def test_asks(agent, replayproxy):
            pass
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(
        ["*- Captured replayproxy setup -*", "*no recording matches this POST /v1/chat/completions*"]
    )


def test_a_missing_cassette_is_named_with_its_neighbours(suite: Suite) -> None:
    """And with the command that records it."""
    suite.tests(
        test_chat="""
        @pytest.mark.replayproxy("chta.cassette")
        def test_asks(replayproxy):
            pass
        """
    )
    suite.cassette("chat.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(
        [
            "replayproxy: there is no cassette cassettes/chta.cassette (there is cassettes/chat.cassette). Record it:"
            " pytest 'test_chat.py::test_asks' --replayproxy-mode once --replayproxy-upstream URL"
        ]
    )


def test_each_test_walks_the_lists_by_itself(suite: Suite) -> None:
    """Two tests ask the same and get the same; a third asks once too often."""
    asks = "[ask(replayproxy.base_url, 'hello') for _ in range({})]"
    suite.tests(
        test_chat=f"""
        pytestmark = pytest.mark.replayproxy("chat.cassette")

        def test_one(replayproxy):
            assert {asks.format(2)} == [(200, "hello!")] * 2

        def test_two(replayproxy):
            assert {asks.format(2)} == [(200, "hello!")] * 2

        def test_three(replayproxy):
            assert {asks.format(3)} == [(200, "hello!")] * 2 + [(404, "exhausted")]
        """
    )
    suite.cassette("chat.cassette", "hello", "hello")
    ran = suite.run()
    ran.assert_outcomes(passed=2, failed=1)
    ran.stdout.fnmatch_lines(["*recorded twice and is asked for the 3rd time*"])


def test_what_a_test_can_see(suite: Suite) -> None:
    """The calls with request, outcome and answer; no key among the fields; the misses; the environment."""
    suite.tests(
        test_chat="""
        import os

        @pytest.mark.xfail(reason="it misses", strict=True)
        def test_sees(replayproxy):
            assert replayproxy.base_url == replayproxy.url + "/v1"
            assert replayproxy.scope in replayproxy.url
            assert replayproxy.cassette.name == "test_sees.cassette"
            assert replayproxy.calls == []
            ask(replayproxy.base_url, "hello", user="me")
            ask(replayproxy.base_url, "good bye", temperature=0)
            hit, miss = replayproxy.calls
            assert (hit.request.method, hit.request.path, hit.outcome) == ("POST", "/v1/chat/completions", "replay")
            assert hit.request.json["user"] == "me"
            assert hit.request.headers["content-type"] == "application/json"
            assert "authorization" not in hit.request.headers and "secret" not in repr(hit)
            assert hit.response.status == 200
            assert hit.response.json["choices"][0]["message"]["content"] == "hello!"
            assert (miss.outcome, miss.response) == ("refuse", None)
            assert [miss.code for miss in replayproxy.misses] == ["nothing_close"]
            assert replayproxy.env["OPENAI_BASE_URL"] == replayproxy.base_url
            assert "127.0.0.1" in replayproxy.env["NO_PROXY"]
            print("SEEN")

        @pytest.mark.replayproxy("test_chat/test_sees.cassette")
        def test_environment(replayproxy_env):
            assert os.environ["OPENAI_BASE_URL"] == os.environ["OPENAI_API_BASE"] == replayproxy_env.base_url
            assert os.environ["ANTHROPIC_BASE_URL"] == os.environ["REPLAYPROXY_URL"] == replayproxy_env.url
            assert os.environ["OPENAI_API_KEY"] and os.environ["ANTHROPIC_API_KEY"]

        @pytest.mark.replayproxy("test_chat/test_sees.cassette")
        def test_marker_alone():
            assert ask(os.environ["OPENAI_BASE_URL"], "hello") == (200, "hello!")

        def test_environment_is_as_it_was():
            assert "REPLAYPROXY_URL" not in os.environ
        """
    )
    suite.cassette("test_chat/test_sees.cassette", "hello")
    ran = suite.run("-rx", "-s")
    ran.assert_outcomes(passed=3, xfailed=1)
    ran.stdout.fnmatch_lines(["*SEEN*"])


def test_all_played_is_asserted(suite: Suite) -> None:
    """What was left is named."""
    suite.tests(
        test_chat="""
        pytestmark = pytest.mark.replayproxy("chat.cassette")

        def test_all(replayproxy):
            ask(replayproxy.base_url, "hello"), ask(replayproxy.base_url, "good bye")
            replayproxy.assert_all_played()

        def test_one(replayproxy):
            ask(replayproxy.base_url, "hello")
            replayproxy.assert_all_played()
        """
    )
    suite.cassette("chat.cassette", "hello", "good bye")
    ran = suite.run()
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(
        ["E*AssertionError: 1 of 2 recordings on *chat.cassette were not played:", "*POST /v1/chat*"]
    )


def test_threads_and_loops_of_a_test_are_its_own(suite: Suite) -> None:
    """A pool of threads and an event loop within a test: N equal requests at once get the N recordings, each once."""
    suite.tests(
        test_chat="""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        pytestmark = pytest.mark.replayproxy("chat.cassette")

        def test_pool(replayproxy):
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: ask(replayproxy.base_url, "hello"), range(8)))
            assert answers == [(200, "hello!")] * 8
            assert sorted(call.response is not None for call in replayproxy.calls) == [True] * 8
            replayproxy.assert_all_played()

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_loop(replayproxy, anyio_backend):
            asked = [asyncio.to_thread(ask, replayproxy.base_url, "hello") for _ in range(8)]
            assert await asyncio.gather(*asked) == [(200, "hello!")] * 8
            assert len(replayproxy.calls) == 8
        """
    )
    suite.cassette("chat.cassette", *["hello"] * 8)
    suite.run("-p", "anyio").assert_outcomes(passed=2)


def test_a_class_and_its_parameters_have_cassettes_of_their_own(suite: Suite) -> None:
    """Names that a file system would not take are spelled otherwise, and stay different."""
    suite.tests(
        test_chat="""
        class TestChat:
            @pytest.mark.parametrize("word", ["a/b", "a:b"])
            def test_asks(self, replayproxy, word):
                assert not replayproxy.calls
                print("CASSETTE", replayproxy.cassette.parent.name, replayproxy.cassette.name)
        """
    )
    ran = suite.run("--replayproxy-mode", "once", "--replayproxy-upstream", "http://127.0.0.1:9", "-s")
    ran.assert_outcomes(passed=2)
    names = {line.partition("CASSETTE ")[2] for line in ran.outlines if "CASSETTE " in line}
    assert len(names) == 2
    assert all(name.startswith("test_chat TestChat.test_asks-a-b-") for name in names)


def test_without_a_scope_a_request_is_the_running_test_s(suite: Suite) -> None:
    """A client that drops the path of its base URL is seen all the same."""
    suite.tests(
        test_chat="""
        @pytest.mark.parametrize("number", range(2))
        @pytest.mark.replayproxy("chat.cassette")
        def test_asks(replayproxy, number):
            root = replayproxy.url.partition("/t/")[0]
            assert ask(root + "/v1", "hello") == (200, "hello!")
            ask(root + "/v1", "good bye")
        """
    )
    suite.cassette("chat.cassette", "hello")
    ran = suite.run()
    ran.assert_outcomes(failed=2)
    assert "exhausted" not in ran.stdout.str()


def test_pytest_pays_nothing_without_it(suite: Suite) -> None:
    """The plugin is loaded, with the table of its options; the house is not, as long as no test asks for it."""
    suite.tests(
        test_chat="""
        import sys

        def test_nothing(request):
            assert request.config.pluginmanager.hasplugin("replayproxy")
            assert "replayproxy.pytest_plugin.session" in sys.modules
            ours = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("replayproxy.")}
            table = {"replayproxy.setting_kinds", "replayproxy.setting_table"}
            assert ours <= {"replayproxy.pytest_plugin", "replayproxy.errors", *table}
            assert not {"aiohttp", "uvloop", "quart", "sqlite3", "orjson"} & set(sys.modules)
        """
    )
    ran = suite.run("-p", "no:anyio", "-p", "no:hypothesispytest", own_process=True, with_all=True)
    ran.assert_outcomes(passed=1)
    assert "replayproxy" not in ran.stdout.str().partition("plugins:")[2].partition("\n")[2]


@pytest.mark.parametrize(
    "said", ['mode="nonne"', 'spede="max"', "speed=0", "stall=-1", 'at_end="begin"', 'match="loose"']
)
def test_what_a_marker_says_wrong_is_told(suite: Suite, said: str) -> None:
    """A sentence, not a traceback."""
    suite.tests(test_chat=f"@pytest.mark.replayproxy({said})\ndef test_asks(replayproxy): ...")
    ran = suite.run()
    ran.assert_outcomes(errors=1)
    assert "Traceback" not in ran.stdout.str()
    ran.stdout.fnmatch_lines(["replayproxy: *"])


def test_an_answer_is_held_open_for_as_long_as_elsewhere() -> None:
    """The plugin says the default again, because it must not import it."""
    assert options.TestChoice().stall == STALL


DAMAGE = {
    "wrong digest": "UPDATE exchange SET digest = x'0011223344556677'",
    "answer missing": "DELETE FROM answer",
    "torn answer": "UPDATE answer SET answer = substr(answer, 1, length(answer) - 3)",
    "a status that is none": "UPDATE exchange SET status = 42",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("body", ["expects the answer", "swallows the error"])
def test_a_test_whose_answer_is_damaged_fails(suite: Suite, statement: str, body: str) -> None:
    """Also where the code under test has swallowed the 500; the report counts it, and the run is red."""
    expected = '(200, "hello!")' if body == "expects the answer" else '(500, "damaged")'
    suite.tests(
        test_chat=f"""
        def test_asks(replayproxy):
            assert ask(replayproxy.base_url, "hello") == {expected}

        def test_other(replayproxy):
            assert ask(replayproxy.base_url, "sound") == (200, "sound!")
        """
    )
    damaged = suite.cassette("test_chat/test_asks.cassette", "hello")
    suite.cassette("test_chat/test_other.cassette", "sound")
    with closing(sqlite3.connect(damaged)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(statement)
    ran = suite.run()
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*cannot be played: *"])
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    assert suite.report()["misses"][0]["code"] == "damaged"


def test_a_cassette_that_cannot_be_opened_fails_the_test_with_a_sentence(suite: Suite) -> None:
    """No traceback of ours."""
    suite.tests(test_chat=ASKS)
    damaged = suite.cassette("test_chat/test_asks.cassette", "hello")
    for content in (b"", b"SQLite format 3\0", b"\0" * 5000, damaged.read_bytes()[:3000]):
        damaged.write_bytes(content)
        ran = suite.run()
        ran.assert_outcomes(errors=1)
        assert "Restore it" in ran.stdout.str() or "cassette" in ran.stdout.str()
        assert "sqlite3." not in ran.stdout.str()
