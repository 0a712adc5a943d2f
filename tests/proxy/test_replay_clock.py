"""The moment of the recording follows the first played recording at a speed, and the latest one at max."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.proxy.replay_clock import ReplayClock
from tests.doubles.fakes import SECOND, ManualClock, turns

THEN = 1_000 * SECOND


@pytest.mark.parametrize(("speed", "passed"), [(1.0, 3 * SECOND), (2.0, 6 * SECOND), (0.5, 3 * SECOND // 2)])
def test_time_passes_at_the_speed(speed: float, passed: int) -> None:
    """From the first recording that is played; later ones do not move it."""
    clock = ManualClock()
    replayed = ReplayClock(clock, speed)
    clock.move(5 * SECOND)
    assert (replayed.moment(), replayed.needs_more) == (None, True)
    replayed.play(THEN, SECOND)
    clock.move(3 * SECOND)
    replayed.play(THEN + 100 * SECOND, SECOND)
    assert (replayed.moment(), replayed.needs_more) == (THEN + passed, False)


def test_at_max_it_is_the_end_of_the_latest_recording() -> None:
    """It never goes back, and time alone does not move it."""
    clock = ManualClock()
    replayed = ReplayClock(clock, None)
    seen = []
    for at, total in ((10, 5), (30, 1), (20, 3)):
        replayed.play(at, total)
        clock.move(SECOND)
        seen.append(replayed.moment())
    assert (seen, replayed.needs_more) == ([15, 31, 31], True)


def test_a_reset_begins_anew() -> None:
    """With the next recording that is played."""
    replayed = ReplayClock(ManualClock(), 1.0)
    replayed.play(THEN, 0)
    replayed.reset()
    assert replayed.moment() is None
    replayed.play(THEN - 7, 0)
    assert replayed.moment() == THEN - 7


@pytest.mark.parametrize("speed", [None, 4.0])
def test_who_waits_for_a_moment_is_woken_at_it(speed: float | None) -> None:
    """Not before anything is played, and at once where it has passed."""

    async def talk() -> list[str]:
        clock = ManualClock()
        replayed = ReplayClock(clock, speed)
        log: list[str] = []

        async def wait(moment: int) -> None:
            await replayed.reach(moment)
            log.append(f"{moment} at {clock.now()}")

        waiting = [asyncio.create_task(wait(moment)) for moment in (90, 108)]
        await turns()
        log.append("played")
        replayed.play(100, 4)
        await turns()
        replayed.play(104, 4)
        await asyncio.gather(*waiting)
        return log

    when = 0 if speed is None else 2
    assert asyncio.run(talk()) == ["played", "90 at 0", f"108 at {when}"]
