"""Signals of a process that runs a command: received while it runs, and afterwards as they were before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from replayproxy.cli import child
from replayproxy.cli.child import PASSED_ON, Signals
from tests.cli.commands import tape
from tests.processes import environment

MASKS = [set(), {signal.SIGUSR2}, {signal.SIGTERM, signal.SIGINT}, set(PASSED_ON)]


def mask() -> set[signal.Signals]:
    """What is blocked in this thread."""
    return {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())}


@pytest.mark.parametrize("before", MASKS, ids=["nothing", "USR2", "TERM and INT", "all"])
def test_the_mask_is_as_it_was_before(before: set[signal.Signals]) -> None:
    """Whatever it was; and the thread that received signals has ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, before)
    signals = Signals(lambda _: None)
    assert mask() >= {signal.SIGTERM, signal.SIGINT}
    result = child.run(("true",), os.environ, signals)
    assert result.code == 0
    signals.close()
    signals.close()
    assert mask() == before
    assert "replayproxy-signals" not in {thread.name for thread in threading.enumerate()}


def test_where_every_signal_is_ignored_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is started that could not be ended."""
    monkeypatch.setattr(child, "PASSED_ON", ())
    signals = Signals(lambda _: None)
    signals.close()
    assert mask() == set()


def test_a_signal_after_the_end_is_this_process_own_again() -> None:
    """It is not kept pending, and nobody of ours claims it."""
    claimed: list[int] = []
    got: list[int] = []
    handler = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        signals = Signals(claimed.append)
        signals.close()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (claimed, got) == ([], [signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, handler)


EXEC = """
import signal, sys
from replayproxy.cli.main import main
try:
    main()
finally:
    print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--", "true"], 0), (["--", "false"], 1), (["--", "replayproxy-is-not-there"], 127)],
    ids=["ends well", "fails", "is not there"],
)
def test_exec_leaves_no_signal_blocked(tmp_path: Path, arguments: list[str], code: int) -> None:
    """However the command ends."""
    path = tape(tmp_path / "a.cassette")
    ran = subprocess.run(
        [sys.executable, "-c", EXEC, "exec", path, "--allow-empty", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout.splitlines()[-1:]) == (code, ["[]"]), ran.stderr
