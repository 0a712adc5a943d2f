"""Real-time scheduling for a recorder that shares its cores: the kernel runs it before everything ordinary."""

from __future__ import annotations

import os

from replayproxy.errors import SettingsError, setting


def run_at(priority: int) -> None:
    """Schedule this process as `chrt -f PRIORITY` would (sched(7), SCHED_FIFO). Raises `SettingsError`.

    Threads that are started later inherit it: a writing thread that was not run while it holds the interpreter's lock
    would hold the recorder up.
    """
    if not hasattr(os, "sched_setscheduler"):
        raise SettingsError(
            f"{setting('rt_priority')} needs Linux, where processes have real-time priorities: leave it away"
        )
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        raise SettingsError(
            f"{setting('rt_priority', priority)} is not permitted here ({error.strerror}): allow it (ulimit"
            f" -r {priority},"
            " LimitRTPRIO= of systemd, docker run --cap-add SYS_NICE --ulimit rtprio=99, or root with `chrt -f`), or"
            " give the recorder a core of its own with taskset, or leave the flag away"
        ) from error
