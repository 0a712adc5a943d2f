"""How late the recorder is scheduled is measured while answers run, for each of them, and costs nothing otherwise."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.model import Chunk, End, Ending, Head, Request
from replayproxy.proxy.starvation import GRAIN, PERIOD, Running, Starvation
from tests import fuzz
from tests.doubles.fakes import MILLISECOND, SSE, ManualClock
from tests.proxy.test_recorder import CHAT, Studio


def measured(*steps: tuple[str, int]) -> list[int]:
    """What each answer is told, in the order of their ends. A step: what happens, and so many ms later the next."""

    async def run() -> list[int]:
        clock = ManualClock()
        starvation = Starvation(clock)
        starvation.start()
        running = []
        ended = []
        for what, milliseconds in steps:
            match what:
                case "begin":
                    running.append(starvation.begin())
                case "end":
                    ended.append(starvation.end(running.pop(0)) // MILLISECOND)
                case "ring":
                    starvation._ring()
            clock.move(milliseconds * MILLISECOND)
        assert starvation._timer is None or running
        return ended

    return asyncio.run(run())


DUE = PERIOD // MILLISECOND
CASES: dict[str, tuple[list[tuple[str, int]], list[int]]] = {
    "on time": ([("begin", DUE), ("ring", DUE), ("ring", 3), ("end", 0)], [0]),
    "late once": ([("begin", DUE + 70), ("ring", DUE), ("ring", 0), ("end", 0)], [70]),
    "the largest counts": ([("begin", DUE + 5), ("ring", DUE + 70), ("ring", DUE + 9), ("ring", 0), ("end", 0)], [70]),
    "the timer's own grain": ([("begin", DUE + GRAIN // MILLISECOND - 1), ("ring", 0), ("end", 0)], [0]),
    "over before the timer could ring": ([("begin", 80), ("end", 0)], [80 - DUE]),
    "shorter than a period": ([("begin", DUE - 1), ("end", 0)], [0]),
    "all that run": ([("begin", 0), ("begin", DUE + 70), ("ring", 0), ("end", 0), ("end", 0)], [70, 70]),
    "not what was before it": ([("begin", DUE + 30), ("begin", 40), ("ring", 0), ("end", 0), ("end", 0)], [70, 40]),
    "not what comes after": ([("begin", 1), ("end", 500), ("begin", DUE), ("ring", 0), ("end", 0)], [0, 0]),
}


@pytest.mark.parametrize(("steps", "expected"), CASES.values(), ids=CASES.keys())
def test_the_largest_delay_is_kept_with_each_answer(steps: list[tuple[str, int]], expected: list[int]) -> None:
    """In ms; of what was late before an answer began, or after it ended, it knows nothing."""
    assert measured(*steps) == expected


STEPS = st.lists(st.tuples(st.sampled_from(["begin", "end", "ring"]), st.integers(0, 40)), max_size=60)


@settings(max_examples=fuzz.cases(37), deadline=None)
@given(STEPS)
def test_it_is_the_largest_of_all_delays_in_which_the_answer_ran(steps: list[tuple[str, int]]) -> None:
    """Compared with a list of all moments at which the timer was seen to be late."""

    async def run() -> None:
        clock = ManualClock()
        starvation = Starvation(clock)
        starvation.start()
        running: list[Running] = []
        seen: list[tuple[int, int]] = []
        for what, milliseconds in steps:
            if what != "begin" and running:
                seen.append((starvation._due, clock.now()))
            if what == "begin":
                running.append(starvation.begin())
            elif what == "ring" and running:
                starvation._ring()
            elif running:
                one = running.pop(milliseconds % len(running))
                late = [at - max(due, one.begun) for due, at in seen if at > one.begun and at - due >= GRAIN]
                assert starvation.end(one) == max((delay for delay in late if delay >= GRAIN), default=0)
                if not running:
                    seen.clear()
            clock.move(milliseconds * MILLISECOND)

    asyncio.run(run())


def test_rings_are_forgotten_once_no_answer_ran_then() -> None:
    """A recorder that is late all the time, a little less each time, keeps a bounded number of rings."""

    async def run() -> int:
        clock = ManualClock()
        starvation = Starvation(clock)
        starvation.start()
        running = starvation.begin()
        for late in range(500, 100, -1):
            clock.move(PERIOD + late * MILLISECOND)
            starvation._ring()
            fresh = starvation.begin()
            starvation.end(running)
            running = fresh
        return len(starvation._rings)

    assert asyncio.run(run()) <= 64


def test_nothing_is_measured_where_nothing_runs() -> None:
    """No timer is armed before the first answer, nor after the last one, nor where recording has not begun."""

    async def run() -> list[bool]:
        starvation = Starvation(ManualClock())
        armed = []

        def note() -> None:
            armed.append(starvation._timer is not None)

        early = starvation.begin()
        note()
        starvation.start()
        note()
        starvation.end(early)
        note()
        starvation.end(starvation.begin())
        note()
        starvation.begin()
        note()
        starvation.stop()
        note()
        return armed

    assert asyncio.run(run()) == [False, True, False, False, True, False]


def test_the_timer_goes_on_while_an_answer_runs() -> None:
    """Each ring arms the next one."""

    async def run() -> None:
        starvation = Starvation(ManualClock())
        starvation.start()
        starvation.begin()
        first = starvation._timer
        starvation._ring()
        assert starvation._timer not in (None, first)

    asyncio.run(run())


def test_it_is_on_the_last_piece_of_a_tape() -> None:
    """Every answer knows how much its times are worth."""
    studio = Studio()

    async def record(milliseconds: int) -> None:
        studio.recorder.starvation.start()
        with studio.recorder.record(Request("POST", CHAT)) as tape:
            await tape.head(Head(0, 200, SSE))
            studio.clock.move(milliseconds * MILLISECOND)
            tape.chunk(Chunk(studio.clock.now(), b"data: 1\n\n"))
            await tape.end(End(studio.clock.now(), Ending.COMPLETE))

    asyncio.run(record(DUE + 70))
    asyncio.run(record(3))
    assert [piece.starved for piece in studio.archive.pieces] == [70 * MILLISECOND, 0]
