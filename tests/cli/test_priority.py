"""`--rt-priority`: what is asked of the kernel, and a sentence where it says no."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from replayproxy.cli.priority import run_at
from replayproxy.errors import SettingsError

needs_linux = pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="Linux has real-time priorities")


@needs_linux
def test_the_process_becomes_a_real_time_one_or_says_why_not() -> None:
    """With the real kernel, in a process of its own."""
    code = (
        "import os; from replayproxy.cli.priority import run_at; run_at(7);"
        "print(os.sched_getscheduler(0) == os.SCHED_FIFO, os.sched_getparam(0).sched_priority)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "True 7\n" or "--rt-priority 7 is not permitted here" in ran.stderr


@needs_linux
def test_what_is_not_permitted_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flag, the reason, and what to do: the limit, the capability, another core, no flag."""

    def refuse(pid: int, policy: int, param: os.sched_param) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(SettingsError) as refused:
        run_at(10)
    for part in ("--rt-priority 10", "Operation not permitted", "ulimit -r 10", "SYS_NICE", "chrt", "taskset"):
        assert part in str(refused.value)


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no such call."""
    monkeypatch.delattr(os, "sched_setscheduler", raising=False)
    with pytest.raises(SettingsError, match="needs Linux"):
        run_at(10)
