"""When requests are sent: a table of options, and what each makes of the same recording."""

from __future__ import annotations

import pytest

from replayproxy.drive.arrivals import ArrivalProcess
from replayproxy.drive.plan import DrivePlan, PlanOptions, plan_of
from replayproxy.drive.recorded import RecordedTurn, Thread
from replayproxy.errors import SettingsError
from tests.doubles.driving import MS, turn


def recording() -> list[RecordedTurn]:
    """Two users: alice asks at 0, 300 and 900 ms, bob at 100 ms; each answer takes 100 ms."""
    return [
        turn(1, 0, thread=Thread(key="alice"), output_tokens=5),
        turn(2, 100, thread=Thread(key="bob")),
        turn(3, 300, thread=Thread(key="alice")),
        turn(4, 900, thread=Thread(key="alice")),
    ]


def times(plan: DrivePlan) -> list[tuple[int, int | None, int | None, int]]:
    """Of each request: number, ms at which it is due, predecessor, and ms of pause after that."""
    return [
        (one.turn.number, None if one.at is None else one.at // MS, one.predecessor, one.think // MS)
        for one in plan.requests
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PlanOptions(), [(1, 0, None, 0), (2, 100, None, 0), (3, 300, 0, 0), (4, 900, 2, 0)]),
        (PlanOptions(speed=2), [(1, 0, None, 0), (2, 50, None, 0), (3, 150, 0, 0), (4, 450, 2, 0)]),
        (PlanOptions(turns="none"), [(1, 0, None, 0), (2, 100, None, 0), (3, 300, None, 0), (4, 900, None, 0)]),
        (PlanOptions(turns="think"), [(1, 0, None, 0), (2, 100, None, 0), (3, None, 0, 200), (4, None, 2, 500)]),
        (
            PlanOptions(turns="think", speed=2, think_speed=10),
            [(1, 0, None, 0), (2, 50, None, 0), (3, None, 0, 20), (4, None, 2, 50)],
        ),
        (PlanOptions(max_idle_gap=0.15), [(1, 0, None, 0), (2, 100, None, 0), (3, 250, 0, 0), (4, 400, 2, 0)]),
        (
            PlanOptions(process=ArrivalProcess(10, None)),
            [(1, 0, None, 0), (2, 100, None, 0), (3, 200, 0, 0), (4, 300, 2, 0)],
        ),
        (
            PlanOptions(process=ArrivalProcess(10, None), turns="think"),
            [(1, 0, None, 0), (2, 100, None, 0), (3, None, 0, 200), (4, None, 2, 500)],
        ),
        (PlanOptions(concurrency=2), [(1, None, None, 0), (2, None, None, 0), (3, None, 0, 0), (4, None, 2, 0)]),
    ],
)
def test_options_decide_when_a_request_is_due(
    options: PlanOptions, expected: list[tuple[int, int | None, int | None, int]]
) -> None:
    """The same recording under each of them."""
    assert times(plan_of(recording(), options)) == expected


def test_loops_follow_one_another_and_copies_overlap() -> None:
    """A loop begins when the one before has ended; sessions of different loops do not wait for each other."""
    looped = plan_of(recording(), PlanOptions(loops=2))
    assert [(one.turn.number, one.loop, one.at // MS) for one in looped.requests if one.at is not None][4:] == [
        (1, 1, 1000), (2, 1, 1100), (3, 1, 1300), (4, 1, 1900),
    ]  # fmt: skip
    assert [one.predecessor for one in looped.requests] == [None, None, 0, 2, None, None, 4, 6]
    assert looped.sessions == 4
    copied = plan_of(recording(), PlanOptions(copies=2, copy_offset=0.05))
    assert [(one.turn.number, one.loop, (one.at or 0) // MS) for one in copied.requests][:4] == [
        (1, 0, 0), (1, 1, 50), (2, 0, 100), (2, 1, 150),
    ]  # fmt: skip


def test_a_plan_says_how_long_it_takes() -> None:
    """As recorded; and with users who take one session after the other."""
    assert plan_of(recording(), PlanOptions()).expected() == (1000 * MS, 1)
    assert plan_of(recording(), PlanOptions(speed=10)).expected()[1] == 2
    closed = plan_of(recording(), PlanOptions(concurrency=2, turns="think"))
    assert closed.users == ((0, (0, 2, 3)), (1, (1,)))
    assert closed.expected() == (1000 * MS, 2)
    assert plan_of(recording(), PlanOptions(concurrency=1)).expected() == (400 * MS, 1)


def test_what_does_not_fit_is_refused() -> None:
    """Two ways to send at once, and a speed of nothing."""
    with pytest.raises(SettingsError, match="give one of them"):
        PlanOptions(process=ArrivalProcess(1), concurrency=1)
    with pytest.raises(SettingsError, match="twice as fast"):
        PlanOptions(speed=0)
