"""The only clock.

Deadlines are absolute, so that errors do not add up. The event loop's own timers have the grain of a millisecond; one
timerfd over one heap wakes 300 streams within 0.1 ms, so on Linux the waiting is done there.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import os
import sys
import time
from contextlib import suppress
from itertools import count

_NANOSECONDS = 1_000_000_000
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME


class SystemClock:
    """A `Clock` for one event loop."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._timer = _TimerFd() if sys.platform == "linux" else None
        self._watched: asyncio.AbstractEventLoop | None = None
        self._armed: int | None = None

    # As they are: a method of our own around them would be called for each event.
    now = staticmethod(time.monotonic_ns)
    """Nanoseconds on CLOCK_MONOTONIC."""

    def today(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    async def sleep_until(self, at: int) -> None:
        """Wait until `now() >= at`; at once if that has passed."""
        if at <= time.monotonic_ns():
            return
        loop = asyncio.get_running_loop()
        if self._timer is None:
            await asyncio.sleep((at - time.monotonic_ns()) / _NANOSECONDS)
            return
        if self._watched is not loop:
            loop.add_reader(self._timer.fd, self._wake)
            self._watched = loop
        waiter = loop.create_future()
        heapq.heappush(self._heap, (at, next(self._order), waiter))
        if self._armed is None or at < self._armed:
            self._arm(at)
        await waiter

    def _arm(self, at: int) -> None:
        assert self._timer is not None
        self._timer.set(at)
        self._armed = at

    def _wake(self) -> None:
        assert self._timer is not None
        self._timer.clear()
        self._armed = None
        now = time.monotonic_ns()
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].done()):
            waiter = heapq.heappop(heap)[2]
            if not waiter.done():
                waiter.set_result(None)
        if heap:
            self._arm(heap[0][0])

    def close(self) -> None:
        """Give the timer back."""
        if self._timer is not None:
            if self._watched is not None and not self._watched.is_closed():
                self._watched.remove_reader(self._timer.fd)
            self._timer.close()
            self._timer = None


class ThreadClock:
    """A clock for a thread of its own, which may block: the engine of vLLM has no event loop of ours."""

    now = staticmethod(time.monotonic_ns)
    """Nanoseconds on CLOCK_MONOTONIC."""

    today = staticmethod(time.time_ns)
    """Nanoseconds since the Unix epoch."""

    def wait_until(self, at: int) -> None:
        """Block until `now() >= at`. Sleeps to an absolute time of the kernel's (clock_nanosleep(2))."""
        while (left := at - time.monotonic_ns()) > 0:
            time.sleep(left / _NANOSECONDS)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class _TimerFd:
    """timerfd_create(2), which Python has from 3.13 on only."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at: int) -> None:
        """Become readable at this time; a time that has passed means now."""
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(at // _NANOSECONDS, at % _NANOSECONDS))
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """No longer readable."""
        with suppress(BlockingIOError):  # set to a later time in between
            os.read(self.fd, 8)

    def close(self) -> None:
        os.close(self.fd)
