"""The account of a run is the same, however its tests were shared out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.pytest_plugin.results import (
    CassetteUse,
    ItemResult,
    ProcessResult,
    SuiteResult,
    first_not_passed,
    suite_result,
)

TESTS = [f"test_chat.py::test_{number}" for number in range(6)]


def recording(number: int) -> dict[str, Any]:
    """A recording as a report names it; test N asks for recording N, and nobody for the last."""
    return {"id": f"{number:08x}", "occurrence": 0, "key": f"rp1:{number}", "cassette": "chat.cassette"}


def ledgers(workers: list[int]) -> list[ProcessResult]:
    """What the workers tell when test N ran on worker `workers[N]`."""
    told = []
    for worker in sorted(set(workers)):
        own = [number for number, where in enumerate(workers) if where == worker]
        told.append(
            ProcessResult(
                tests={TESTS[number]: ItemResult(TESTS[number], "chat.cassette", {"replay": 1}) for number in own},
                cassettes={
                    "chat.cassette": CassetteUse(
                        "none", 7, unused=[recording(number) for number in range(7) if number not in own]
                    )
                },
                selected={"test_chat.py": TESTS},
            )
        )
    return told


def without_run(told: SuiteResult) -> dict[str, Any]:
    """What must be equal."""
    document = told.document()
    del document["run"]
    return document


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_it_does_not_matter_who_ran_what(workers: list[int]) -> None:
    """One process or four: the same lines, the same recording unused."""
    said = suite_result(ledgers(workers), set(TESTS))
    assert without_run(said) == without_run(suite_result(ledgers([0] * 6), set(TESTS)))
    assert said.sentence == "6 served, 0 missed, 1 unused in 1 cassette"
    assert said.unused == (recording(6),)


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_a_ledger_survives_json(workers: list[int]) -> None:
    """As it goes from worker to controller."""
    for ledger in ledgers(workers):
        assert ProcessResult.of(json.loads(json.dumps(ledger.document()))) == ledger


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
def test_when_nobody_can_tell_what_was_unused(
    narrowed: list[str], named: bool, passed: list[str], crashed: bool, why: str | None
) -> None:
    """And why."""
    told = ledgers([0, 0, 0, 1, 1, 1])
    told[1].narrowed = narrowed
    told[1].cassettes["chat.cassette"].named = named
    (line,) = suite_result(told, set(passed), crashed=crashed).lines
    assert line.unjudged == why
    assert (line.unused is None) == (why is not None)


def test_a_cassette_that_was_recorded_is_not_judged() -> None:
    """By whomever."""
    told = ledgers([0, 0, 0, 1, 1, 1])
    told[1].cassettes["chat.cassette"].unused = None
    assert suite_result(told, set(TESTS)).lines[0].unjudged == "it was recorded in this run"


def test_who_did_not_pass_is_named() -> None:
    """The first of them, of this cassette alone."""
    told = ledgers([0, 0, 0, 1, 1, 1])
    assert first_not_passed(told, "chat.cassette", set(TESTS)) is None
    assert first_not_passed(told, "chat.cassette", set(TESTS[2:])) == "test_chat.py::test_0"
    assert first_not_passed(told, "other.cassette", set()) is None
