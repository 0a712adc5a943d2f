"""An app's life: from the first sign of its upstream over signals to its last words.

Sets up the process for serving, which is the business of whoever runs it and not of the app. Knows nothing of how the
app's parts are connected.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from replayproxy.app import Addresses, AdminPort, App
from replayproxy.errors import UpstreamError, UpstreamUnreachable, setting
from replayproxy.settings import Settings

T = TypeVar("T")

COLLECTED = (20_000, 20, 50)
"""Allocations before the collector looks: Python's 700 are for programs that make cycles with every request."""

SWITCH_INTERVAL = 0.000_5
"""Seconds. The writing thread may keep the interpreter for so long; Python's own 5 ms would show in recorded times."""


async def reach(app: App, patience: float) -> None:
    """Wait up to `patience` seconds until the upstream accepts a connection. Raises `UpstreamError`."""
    if app.parts.upstream is None:
        return
    deadline = app.parts.clock.now() + round(patience * 1e9)
    while True:
        try:
            await app.parts.upstream.reach()
            return
        except UpstreamError as error:
            if app.parts.clock.now() >= deadline:
                waited = f"it was waited for {patience:g} s; {setting('wait_upstream')} gives it longer"
                wait = setting("wait_upstream", "60s")
                once = f"or, where it is only slower to start than this, wait for it with {wait}"
                raise UpstreamUnreachable(f"{error.args[0]}; {waited if patience else once}") from error
            await app.parts.clock.sleep_until(min(deadline, app.parts.clock.now() + 500_000_000))


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end on uvloop, in this thread."""
    with runner() as loop:
        return loop.run(work)


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""One drains and seals, a second one ends the draining."""

WITHOUT_MEANING = (signal.SIGUSR1, signal.SIGUSR2)
"""Sent by habit (logrotate, `nginx -s reopen`); by default each would end the process with its streams unfinished."""


def listen_for_signals(heard: Callable[[int], None]) -> None:
    """Call `heard`, on the running loop, with each signal that is to end this process in good order.

    SIGHUP is one of them where a terminal started us, for then it says that the terminal goes away. Without a terminal
    (a service, a container, nohup) it asks a program to read its settings again; there are none to read, so it is
    ignored. `SIGUSR1` and `SIGUSR2` are ignored too.
    """
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, heard, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has said so
        if has_terminal():
            loop.add_signal_handler(signal.SIGHUP, heard, signal.SIGHUP)
        else:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in WITHOUT_MEANING:
        signal.signal(number, signal.SIG_IGN)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal's session: its input and output may be elsewhere."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Stops:
    """What was asked for by signals: `first` to stop, `second` to stop at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def hear(self, number: int) -> None:
        """Take note of a signal that came."""
        # The kernel and the shell each send SIGHUP when a terminal goes away: two of them are no haste.
        if not self.first.is_set():
            self.first.set()
        elif number != signal.SIGHUP:
            self.second.set()


async def run(
    settings: Settings,
    ready: Callable[[App, Addresses], None],
    *,
    wait_upstream: float = 0,
    admin: AdminPort | None = None,
) -> App:
    """Serve until a signal says to stop; a second one ends the draining. Gives the stopped app, for its last words."""
    stops = Stops()
    listen_for_signals(stops.hear)  # before a cassette is open: one that ends us now would leave it unsealed
    app = App(settings, admin=admin)
    first = asyncio.create_task(stops.first.wait())
    stopping: asyncio.Task[None] | None = None
    try:
        reaching = asyncio.create_task(reach(app, wait_upstream))
        await asyncio.wait((reaching, first), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            reaching.cancel()
            return app
        await reaching
        own_process()
        ready(app, await app.start())
        await first
        stopping = asyncio.create_task(app.stop())
        second = asyncio.create_task(stops.second.wait())
        await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            app.hurry()
        second.cancel()
        await stopping
    finally:
        first.cancel()
        if stopping is None:
            await app.give_up()
    return app


def own_process() -> None:
    """Set up the interpreter for a process that does nothing but serve. (In a test's process these are the test's.)"""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()  # what is here now stays: the collector need not look at it again
    gc.set_threshold(*COLLECTED)


def runner() -> asyncio.Runner:
    """The loop that serves in earnest."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def serve(
    settings: Settings,
    ready: Callable[[App, Addresses], None],
    *,
    wait_upstream: float = 0,
    admin: AdminPort | None = None,
) -> App:
    """`run` on uvloop, in this thread."""
    return on_loop(run(settings, ready, wait_upstream=wait_upstream, admin=admin))
