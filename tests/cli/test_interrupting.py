"""Tests of `cli/interrupting`: the first Ctrl-C is noted, the second one raised, and then all is as before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from replayproxy.cli.interrupting import interruptible


@pytest.fixture(autouse=True)
def with_python_s_own_handler() -> Iterator[None]:
    """A test run in the background of a shell ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_is_noted_and_the_second_is_raised() -> None:
    """The handler of before is back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as pressed:
        assert not pressed.is_set()
        signal.raise_signal(signal.SIGINT)
        assert pressed.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_changes_nothing() -> None:
    """Python lets only the main thread set handlers."""
    found: list[bool] = []

    def run() -> None:
        with interruptible() as pressed:
            found.append(pressed.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]
