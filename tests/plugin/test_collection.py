"""Which tests a run has, and which cassettes the tests that did not run may use."""

from __future__ import annotations

import pytest

from replayproxy.pytest_plugin.collection import CollectedTests, file_of

TESTS = """
import pytest

def test_one(replayproxy): ...

@pytest.mark.replayproxy("chat")
def test_two(replayproxy): ...

@pytest.mark.replayproxy("other.tape")
def test_three(replayproxy): ...

def test_without(): ...
"""


@pytest.mark.parametrize(
    ("words", "narrowed"),
    [
        ((), []),
        (("tests",), []),
        (("tests/test_a.py",), ["*"]),
        (("tests/test_a.py::test_one",), ["*", "tests/test_a.py"]),
        (("--ignore-glob", "*_b.py"), ["*"]),
        (("--ignore", "tests/test_b.py"), []),
    ],
)
def test_the_command_line_may_choose(pytester: pytest.Pytester, words: tuple[str, ...], narrowed: list[str]) -> None:
    """Files, or single tests of them; a folder is everything in it."""
    pytester.mkdir("tests").joinpath("test_a.py").write_text("")
    assert CollectedTests(pytester.parseconfig(*words)).narrowed == narrowed


def test_ignored_files_keep_their_cassettes(pytester: pytest.Pytester) -> None:
    """A folder as a whole; of a file what is in the folder `cassettes` beside it."""
    pytester.mkdir("tests").joinpath("test_a.py").write_text("")
    tests = CollectedTests(pytester.parseconfig("--ignore", "tests/test_a.py", "--ignore", "tests"))
    assert tests.spared(()) == ["tests", "tests/cassettes"]


def test_what_was_selected_and_what_was_left_out(pytester: pytest.Pytester) -> None:
    """By file; the tests that did not begin keep the cassettes that their markers and their file name."""
    module = pytester.getmodulecol(TESTS)
    one, two, three, without = pytester.genitems([module])
    tests = CollectedTests(pytester.parseconfig())
    file = file_of(one.nodeid)
    tests.selected([one, two, without])
    assert tests.selected_in({file}) == {file: [one.nodeid, two.nodeid, without.nodeid]}
    assert tests.selected_in({"test_other.py"}) == {}
    own = [f"cassettes/{module.path.stem}", f"cassettes/{module.path.stem}.cassette"]
    assert tests.spared(()) == sorted([*own, "cassettes/chat.cassette"])
    assert tests.spared([two.nodeid]) == sorted(own)
    assert tests.spared([one.nodeid, two.nodeid]) == []
    tests.deselected([])
    assert tests.narrowed == []
    tests.deselected([three])
    assert tests.narrowed == ["*", file]
    tests.selected([three])
    assert "cassettes/other.tape" in tests.spared([one.nodeid, two.nodeid])


def test_a_module_that_was_not_collected_may_have_any_tests(pytester: pytest.Pytester) -> None:
    """One that skips itself keeps the cassettes beside it; one that cannot be imported makes nothing certain."""
    tests = CollectedTests(pytester.parseconfig())
    pytester.mkdir("tests").joinpath("test_a.py").write_text("")
    tests.reported(pytest.CollectReport("tests/test_a.py", "passed", None, []))
    assert (tests.narrowed, tests.spared(())) == ([], [])
    tests.reported(pytest.CollectReport("tests/test_a.py", "skipped", None, []))
    assert (tests.narrowed, tests.spared(())) == ([], ["tests/cassettes"])
    tests.reported(pytest.CollectReport("tests/test_a.py", "failed", None, []))
    assert tests.narrowed == ["*"]
