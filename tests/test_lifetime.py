"""Tests of `lifetime`: how long it waits for an upstream, and what signals mean."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replayproxy.app import App
from replayproxy.errors import UpstreamUnreachable
from replayproxy.lifetime import Stops, reach
from tests.doubles.fakes import SECOND, ManualClock


class SlowToStart:
    """An upstream that accepts connections from a time on."""

    def __init__(self, clock: ManualClock, ready_at: int) -> None:
        self.clock = clock
        self.ready_at = ready_at
        self.attempts = 0

    async def reach(self) -> None:
        """Raises `UpstreamUnreachable` until then."""
        self.attempts += 1
        if self.clock.now() < self.ready_at:
            raise UpstreamUnreachable("nobody answers at http://h:1")


def reached(ready_at: int, patience: float) -> tuple[int, int]:
    """Wait for it; how often it was tried, and until when."""
    clock = ManualClock()
    upstream = SlowToStart(clock, ready_at)
    app: Any = SimpleNamespace(parts=SimpleNamespace(upstream=upstream, clock=clock))
    asyncio.run(reach(cast(App, app), patience))
    return upstream.attempts, clock.now()


def test_an_upstream_is_tried_twice_a_second_until_it_accepts() -> None:
    """Without --wait-upstream once."""
    assert reached(0, 0) == (1, 0)
    assert reached(SECOND, 60) == (3, SECOND)


@pytest.mark.parametrize(
    ("patience", "sentence"),
    [
        (0, "only slower to start than this, wait for it with --wait-upstream 60s"),
        (0.7, "it was waited for 0.7 s; --wait-upstream gives it longer"),
    ],
)
def test_after_that_the_error_names_the_way_out(patience: float, sentence: str) -> None:
    """To wait at all, or for longer; spelled by the entry point."""
    with pytest.raises(UpstreamUnreachable, match=r"^nobody answers at http://h:1; ") as raised:
        reached(SECOND * 3600, patience)
    assert sentence in str(raised.value)
    raised.value.spelling = lambda name, value: f"<{name}>"
    assert "<wait_upstream>" in str(raised.value)


@pytest.mark.parametrize(
    ("numbers", "first", "second"),
    [
        ([], False, False),
        ([signal.SIGTERM], True, False),
        ([signal.SIGTERM, signal.SIGINT], True, True),
        ([signal.SIGHUP, signal.SIGHUP], True, False),
        ([signal.SIGHUP, signal.SIGTERM], True, True),
    ],
)
def test_a_second_signal_means_at_once(numbers: list[int], first: bool, second: bool) -> None:
    """But not a second SIGHUP, which the kernel and the shell each send when a terminal is closed."""
    stops = Stops()
    for number in numbers:
        stops.receive(number)
    assert (stops.first.is_set(), stops.second.is_set()) == (first, second)
