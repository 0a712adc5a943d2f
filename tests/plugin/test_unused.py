"""Recordings that nobody asked for: told only when everybody who might have asked has run, and passed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugin.suites import Suite
from tests.processes import replayproxy

ASKS = """
def test_one(replayproxy):
    assert ask(replayproxy.base_url, "a")[0] == 200

def test_two(replayproxy):
    assert ask(replayproxy.base_url, "b")[0] == 200
"""
MODULE = ("--replayproxy-layout", "module")


@pytest.fixture
def chats(suite: Suite) -> Suite:
    """Two tests on one cassette, with a recording that neither asks for."""
    suite.tests(test_chat=ASKS)
    suite.cassette("test_chat.cassette", "a", "b", "c")
    return suite


def line(report: dict[str, Any]) -> dict[str, Any]:
    """The only cassette of a report."""
    (only,) = report["cassettes"]
    assert isinstance(only, dict)
    return only


def test_they_are_named(chats: Suite) -> None:
    """In the report, and with -v on the terminal; the run is no worse for it."""
    (unused,) = line(chats.report(*MODULE))["unused"]
    assert (unused["cassette"], unused["method"]) == ("cassettes/test_chat.cassette", "POST")
    ran = chats.run(*MODULE)
    assert ran.ret == 0
    ran.stdout.fnmatch_lines(
        ["2 served, 0 missed, 1 unused in 1 cassette", "cassettes/test_chat.cassette has 1 that no test asked for *"]
    )
    chats.run(*MODULE, "-v").stdout.fnmatch_lines([f"  unused  {unused['id']}  POST /v1/chat/completions"])


def test_they_may_fail_the_run(chats: Suite) -> None:
    """By the command line or the ini file."""
    assert chats.run(*MODULE, "--replayproxy-unused", "fail").ret == pytest.ExitCode.TESTS_FAILED
    assert chats.run(*MODULE, "--override-ini", "replayproxy_unused=fail").ret == pytest.ExitCode.TESTS_FAILED
    ran = chats.run(*MODULE, "--replayproxy-unused", "ignore", "-v")
    assert ran.ret == 0
    assert "  unused  " not in ran.stdout.str()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("-k", "one"), "not all tests of test_chat.py were selected"),
        (("--deselect", "test_chat.py::test_two"), "not all tests of test_chat.py were selected"),
        (("test_chat.py::test_one",), "not all tests of test_chat.py were selected"),
        (("test_chat.py",), None),
        ((".",), None),
    ],
)
def test_a_run_of_some_tests_judges_nothing(chats: Suite, flags: tuple[str, ...], why: str | None) -> None:
    """The others might have asked."""
    report = line(chats.report(*MODULE, "--replayproxy-unused", "fail", *flags))
    assert report["unjudged"] == why
    assert (report["unused"] is None) == (why is not None)


@pytest.mark.parametrize(
    "more",
    ["def test_three(): assert 0", "@pytest.mark.skip\ndef test_three(replayproxy): ..."],
    ids=["fails", "skips"],
)
def test_a_test_that_did_not_pass_might_have_asked(suite: Suite, more: str) -> None:
    """Also one that was skipped."""
    suite.tests(test_chat=f"{ASKS}\n{more}")
    suite.cassette("test_chat.cassette", "a", "b", "c")
    assert line(suite.report(*MODULE))["unjudged"] == "test_chat.py::test_three did not pass"


def test_a_cassette_with_a_name_is_anybody_s(suite: Suite) -> None:
    """Tests of other files may use it: judged only when folders were asked for, not files."""
    marked = "pytestmark = pytest.mark.replayproxy('shared.cassette')\n"
    one, two = (f"{marked}def test_it(replayproxy): ask(replayproxy.base_url, '{word}')" for word in "ab")
    suite.tests(test_one=one, test_two=two)
    suite.cassette("shared.cassette", "a", "b")
    assert line(suite.report())["unused"] == []
    report = line(suite.report("test_one.py"))
    assert (report["unused"], report["unjudged"]) == (None, "it has a name of its own, and not all files ran")


def test_many_cassettes_are_one_account(suite: Suite) -> None:
    """More than are open at once; each is judged by all that was played of it."""
    suite.tests(
        test_chat="""
        @pytest.mark.parametrize("word", ["a", "b"])
        @pytest.mark.parametrize("number", range(20))
        def test_one(request, number, word):
            request.node.add_marker(pytest.mark.replayproxy(f"{number}.cassette"))
            assert ask(request.getfixturevalue("replayproxy").base_url, word) == (200, f"{word}!")
        """
    )
    for number in range(20):
        suite.cassette(f"{number}.cassette", "a", "b", "c")
    ran = suite.run()
    ran.assert_outcomes(passed=40)
    ran.stdout.fnmatch_lines(["40 served, 0 missed, 20 unused in 20 cassettes"])


def test_a_miss_after_its_test_was_over_fails_the_run(suite: Suite) -> None:
    """There is no test left to fail; the exit code and the summary tell."""
    suite.tests(
        test_chat="""
        class Late:
            base_url = ""

        @pytest.fixture(scope="session", autouse=True)
        def agent():
            late = Late()
            yield late
            ask(late.base_url, "good bye")

        def test_asks(replayproxy, agent):
            agent.base_url = replayproxy.base_url
            assert ask(replayproxy.base_url, "a")[0] == 200
        """
    )
    suite.cassette("test_chat/test_asks.cassette", "a")
    ran = suite.run()
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["1 served, 1 missed, 0 unused in 1 cassette", "missed after its test was over, in *"])


def test_a_test_that_is_run_again_begins_anew(suite: Suite) -> None:
    """Its lists from the start, its account once."""
    suite.tests(
        conftest="""
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem, log=False)
            item._initrequest()
            runtestprotocol(item, nextitem=nextitem)
            return True
        """,
        test_chat="""
        def test_asks(replayproxy):
            assert ask(replayproxy.base_url, "a") == (200, "a!")
        """,
    )
    suite.cassette("test_chat/test_asks.cassette", "a")
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["1 served, 0 missed, 0 unused in 1 cassette"])


def test_a_report_never_replaces_a_cassette(chats: Suite) -> None:
    """Refused before the first test; and at the end, where it has come there during the run."""
    cassette = chats.path / "cassettes" / "test_chat.cassette"
    before = cassette.read_bytes()
    ran = chats.run(*MODULE, "--replayproxy-report", cassette)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--replayproxy-report *test_chat.cassette is a cassette, and a cassette is never*"])
    assert cassette.read_bytes() == before
    chats.tests(
        test_other=f"""
        import shutil

        def test_copies(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == 200
            shutil.copy({str(cassette)!r}, "late.json")
        """
    )
    chats.cassette("test_other.cassette", "a")
    ran = chats.run(*MODULE, "--replayproxy-report", "late.json")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["there is no report: --replayproxy-report *late.json is a cassette*"])
    assert (chats.path / "late.json").read_bytes() == before


# Orphans: cassettes of tests that are gone

DELETED = [
    ("cassettes/test_chat/test_gone.cassette", "a deleted test"),
    ("cassettes/test_chat/Test.test_gone.cassette", "a deleted method"),
    ("cassettes/test_gone/test_it.cassette", "a deleted file"),
    ("cassettes/test_gone.cassette", "a deleted file, in the other layout"),
    ("cassettes/old/shared.cassette", "a name that no marker gives any more"),
]


@pytest.mark.parametrize(("name", "why"), DELETED, ids=[row[1] for row in DELETED])
def test_the_cassette_of_a_deleted_test_is_named(suite: Suite, name: str, why: str) -> None:
    """With warn, which is the default, and with fail, which says why in red; not with ignore."""
    suite.tests(test_chat=ASKS)
    for test, prompt in (("test_one", "a"), ("test_two", "b")):
        suite.cassette(f"test_chat/{test}.cassette", prompt)
    suite.cassette(name.removeprefix("cassettes/"), "x")
    ran = suite.run()
    assert ran.ret == 0
    ran.stdout.fnmatch_lines(["2 served, 0 missed, 0 unused, 1 orphaned cassette in 2 cassettes", f"{name} is of no *"])
    ran = suite.run("--replayproxy-unused", "fail", "--color=yes")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    red = "*\x1b[[]31m*replayproxy FAILED the run: 1 cassette belongs to no test any more, and --replayproxy-unused is*"
    ran.stdout.fnmatch_lines([red])
    ran = suite.run("--replayproxy-unused", "ignore")
    assert (ran.ret, f"{name} is of no" in ran.stdout.str()) == (0, False)
    assert suite.report()["orphans"] == [name]


ELSEWHERE = [
    "test_gone/test_it.cassette",
    "test_gone.cassette",
    "shared.cassette",
]


@pytest.fixture
def folders(suite: Suite) -> Suite:
    """A folder whose tests use recordings, and two whose tests do not any more."""
    for folder in ("one", "two", "three/deep"):
        (suite.path / folder).mkdir(parents=True)
    suite.tests(**{"one/test_chat": ASKS, "two/test_plain": "def test_it(): ..."})
    for test, prompt in (("test_one", "a"), ("test_two", "b")):
        suite.cassette(f"../one/cassettes/test_chat/{test}.cassette", prompt)
    return suite


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("folder", ["two", "three/deep"])
def test_a_cassette_is_found_where_no_test_uses_one(folders: Suite, folder: str, name: str) -> None:
    """In every folder in which pytest looks for tests."""
    folders.cassette(f"../{folder}/cassettes/{name}", "x")
    for flags in ((), ("one", folder)):
        ran = folders.run("--replayproxy-unused", "fail", "--replayproxy-report", "report.json", *flags)
        assert ran.ret == pytest.ExitCode.TESTS_FAILED
        ran.stdout.fnmatch_lines([f"{folder}/cassettes/{name} is of no test any more*", "*FAILED the run: 1 cassette*"])
    ran = folders.run()
    assert ran.ret == 0
    ran.stdout.fnmatch_lines([f"{folder}/cassettes/{name} is of no test any more*"])
    assert f"{name} is of no" not in folders.run("--replayproxy-unused", "ignore").stdout.str()


def test_workers_find_the_cassettes_that_no_test_uses(folders: Suite) -> None:
    """All of those that one process finds."""
    names = [f"{folder}/cassettes/{name}" for folder in ("two", "three/deep") for name in ELSEWHERE]
    for name in names:
        folders.cassette(f"../{name}", "x")
    ran = folders.run("--replayproxy-unused", "fail", "--replayproxy-report", "report.json", "-n", "2")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    for name in names:
        ran.stdout.fnmatch_lines([f"{name} is of no test any more*"])
    ran.stdout.fnmatch_lines([f"*FAILED the run: {len(names)} cassettes*"])


@pytest.mark.parametrize(
    "flags",
    [
        *[
            ("-k", "one"),
            ("-m", "x"),
            ("-m", "replayproxy"),
            ("one/test_chat.py",),
            ("one",),
            ("two/test_plain.py::test_it",),
        ],
        *[("--ignore", "two"), ("--ignore", "two/test_gone.py"), ("--ignore-glob", "*/test_gone.py")],
    ],
    ids=" ".join,
)
def test_a_run_of_some_folders_finds_none_elsewhere(folders: Suite, flags: tuple[str, ...]) -> None:
    """The tests that were left away may use them."""
    folders.cassette("../two/cassettes/test_gone/test_it.cassette", "x")
    assert "is of no test" not in folders.run("--replayproxy-unused", "fail", *flags).stdout.str()


@pytest.mark.parametrize(
    "module",
    ["pytest.importorskip('no_such_module')", "pytest.skip('not here', allow_module_level=True)", "raise OSError"],
    ids=["importorskip", "skip", "broken"],
)
def test_the_cassettes_of_a_module_that_was_not_collected_are_not_judged(folders: Suite, module: str) -> None:
    """Nobody knows which tests it has."""
    folders.tests(**{"two/test_gone": f"{module}\ndef test_it(replayproxy): ..."})
    folders.cassette("../two/cassettes/test_gone/test_it.cassette", "x")
    ran = folders.run("--replayproxy-unused", "fail", "--continue-on-collection-errors")
    assert "is of no test" not in ran.stdout.str()


def test_where_pytest_does_not_look_nothing_is_found(folders: Suite) -> None:
    """Other folders than those it is told, dependencies, environments, and files that are not in `cassettes`."""
    for name in ("node_modules/a/cassettes", ".git/cassettes", "env/cassettes", "two/data"):
        folders.cassette(f"../{name}/x.cassette", "x")
    (folders.path / "env" / "pyvenv.cfg").touch()
    assert folders.report()["orphans"] == []
    folders.cassette("../three/cassettes/x.cassette", "x")
    assert folders.report("one", "two")["orphans"] == []
    assert folders.report("one", "three")["orphans"] == ["three/cassettes/x.cassette"]


def test_a_run_without_recordings_looks_when_it_is_told_to(suite: Suite) -> None:
    """By `fail`, or by a typed `warn`; else a suite that never used the plugin would hear of it."""
    suite.tests(test_plain="def test_it(): ...")
    suite.cassette("test_gone/test_it.cassette", "x")
    named = "cassettes/test_gone/test_it.cassette is of no test any more"
    assert "replayproxy" not in suite.run().stdout.str().replace("plugins: ", "").split("collected")[1]
    assert named in suite.run("--replayproxy-unused", "warn").stdout.str()
    ran = suite.run("--override-ini", "replayproxy_unused=fail")
    assert (ran.ret, named in ran.stdout.str()) == (pytest.ExitCode.TESTS_FAILED, True)
    suite.path.joinpath("cassettes/test_gone/test_it.cassette").unlink()
    ran = suite.run("--replayproxy-unused", "fail")
    assert (ran.ret, "0 served" in ran.stdout.str()) == (0, False)


SOME = [("-k", "one"), ("test_chat.py::test_one",), ("test_chat.py",), ("--deselect", "test_chat.py::test_two")]


@pytest.mark.parametrize("flags", SOME, ids=" ".join)
def test_a_run_of_some_tests_finds_no_orphans(suite: Suite, flags: tuple[str, ...]) -> None:
    """The tests that did not run may use them."""
    suite.tests(test_chat=ASKS)
    for name in ("test_one", "test_two", "test_gone"):
        suite.cassette(f"test_chat/{name}.cassette", "a", "b")
    assert suite.report(*flags)["orphans"] == []


def test_what_a_test_would_have_used_is_no_orphan(suite: Suite) -> None:
    """Tests that were skipped, that fail before their cassette is asked for, that name theirs; in workers too."""
    suite.tests(
        test_chat="""
        @pytest.fixture
        def broken():
            raise OSError

        def test_one(replayproxy):
            assert ask(replayproxy.base_url, "a")[0] == 200

        @pytest.mark.skip
        def test_skipped(replayproxy): ...

        def test_broken(broken, replayproxy): ...

        @pytest.mark.skip
        @pytest.mark.replayproxy("of/its/own")
        def test_named(replayproxy): ...

        @pytest.mark.parametrize("word", ["a b"])
        @pytest.mark.skip
        def test_many(replayproxy, word): ...

        @pytest.mark.skip
        @pytest.mark.replayproxy
        def test_by_marker(): ...
        """
    )
    names = ("test_one", "test_skipped", "test_broken", "test_many-a-b-1234", "test_by_marker")
    for name in (*(f"test_chat/{name}.cassette" for name in names), "of/its/own.cassette", "test_gone.cassette"):
        suite.cassette(name, "a")
    for flags in ((), ("-n", "2")):
        assert suite.report(*flags)["orphans"] == ["cassettes/test_gone.cassette"]


def test_why_a_run_with_passed_tests_failed_is_said_in_red(chats: Suite) -> None:
    """Under a green `2 passed` nobody would know."""
    ran = chats.run(*MODULE, "--replayproxy-unused", "fail", "--color=yes")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.assert_outcomes(passed=2)
    red = "*\x1b[[]31m*replayproxy FAILED the run: 1 recording was not used by any test, and *"
    ran.stdout.fnmatch_lines([red])
    assert "FAILED the run" not in chats.run(*MODULE).stdout.str()


def test_prune_takes_the_report(chats: Suite) -> None:
    """The recordings that no test used are deleted, and nothing else; then none is unused."""
    cassette = chats.path / "cassettes" / "test_chat.cassette"
    assert chats.report(*MODULE)["verdict"] == "passed"
    pruned = replayproxy("prune", cassette, "--unused", "report.json", "--yes")
    assert pruned.returncode == 0
    report = chats.report(*MODULE)
    assert (report["served"], report["unused"], report["cassettes"][0]["recordings"]) == (2, 0, 2)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("-k", "one"), "(not all tests of test_chat.py were selected)"),
        (("--replayproxy-unused", "fail"), "1 deleted, 2 kept"),
    ],
)
def test_prune_takes_what_was_judged(chats: Suite, flags: tuple[str, ...], why: str) -> None:
    """Recordings that other tests may use stay; the run that fails for unused ones is the one to be pruned by."""
    cassette = chats.path / "cassettes" / "test_chat.cassette"
    chats.report(*MODULE, *flags)
    pruned = replayproxy("prune", cassette, "--unused", "report.json", "--yes")
    assert why in pruned.stderr


def test_prune_refuses_the_report_of_tests_that_failed(chats: Suite) -> None:
    """And that of another cassette: its digest is in the report."""
    cassette = chats.path / "cassettes" / "test_chat.cassette"
    chats.tests(test_chat=ASKS.replace('"b"', '"z"'))
    assert chats.report(*MODULE)["verdict"] == "child"
    pruned = replayproxy("prune", cassette, "--unused", "report.json", "--yes")
    assert pruned.returncode == 1
    assert "is of a run that failed (child, exit code 1)" in pruned.stderr
    chats.tests(test_chat=ASKS)
    other = chats.cassette("other.cassette", "a", "b", "c", "d")
    assert chats.report(*MODULE)["verdict"] == "passed"
    pruned = replayproxy("prune", other, "--unused", "report.json", "--yes")
    assert "its SHA-256 differs" in pruned.stderr
