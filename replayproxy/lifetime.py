"""Run a proxy in a process of its own: wait for its upstream, serve until a signal arrives, stop.

Sets up the interpreter and the signals of the process, which the app leaves alone. Does not know how the parts of the
app are connected.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import uvloop

from replayproxy.app import Addresses, AdminPort, App
from replayproxy.errors import UpstreamError, UpstreamUnreachable, setting
from replayproxy.net.systemd import ServiceNotice
from replayproxy.proxy.result import RunResult
from replayproxy.settings import Settings
from replayproxy.views.access import AccessEntry

log = logging.getLogger("replayproxy")

T = TypeVar("T")

COLLECTED = (20_000, 20, 50)
"""Allocations until the garbage collector runs. Python's 700 suit programs that make cycles with each request."""

SWITCH_INTERVAL = 0.000_5
"""Seconds for which the writer thread may hold the GIL. Python's default of 5 ms would show in recorded times."""


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
    """Run a coroutine to its end on uvloop, in this thread."""
    with runner() as loop:
        return loop.run(work)


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The first one drains and seals, a second one ends the draining."""

WITHOUT_MEANING = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that logrotate or `nginx -s reopen` send by habit. By default each would kill the process and its streams."""


def listen_for_signals(on_signal: Callable[[int], None]) -> None:
    """Call `on_signal` on the running loop with each signal that is to stop this process in good order.

    SIGHUP is one of them in a process with a terminal: it says that the terminal is closed. Without a terminal (a
    service, a container, nohup) it means "read your settings again"; there are none to read, so it is ignored, as are
    `SIGUSR1` and `SIGUSR2`.
    """
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, on_signal, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        if has_terminal():
            loop.add_signal_handler(signal.SIGHUP, on_signal, signal.SIGHUP)
        else:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in WITHOUT_MEANING:
        signal.signal(number, signal.SIG_IGN)


def has_terminal() -> bool:
    """Whether this process belongs to the session of a terminal, also if its input and output are redirected."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Stops:
    """Requests to stop, by signal: `first` to stop, `second` to stop at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def receive(self, number: int) -> None:
        """Note a signal."""
        # The kernel and the shell each send SIGHUP when a terminal is closed: two of them do not mean "at once".
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
    access: Callable[[AccessEntry], None] | None = None,
    ranks: Sequence[Settings] = (),
) -> App:
    """Serve until a signal arrives; a second one ends the draining. Returns the stopped app, for its result.

    `ranks` are those of further apps that run as long as this one, data-parallel ranks; its result has theirs in it.
    """
    stops = Stops()
    listen_for_signals(
        stops.receive
    )  # before a cassette is open: a signal that kills the process would leave it unsealed
    app = App(settings, admin=admin, access=access)
    others = [App(rank, admin=admin, access=access) for rank in ranks]
    if app.control.keeps_window:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, app.control.keep, "SIGUSR1")
    notice = ServiceNotice(os.environ, os.getpid())
    alive = asyncio.create_task(notice.live())
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
        for other in others:  # before the first one says that it is ready
            log.info("a further rank listens at %s", (await other.start()).url)
        ready(app, await app.start())
        notice.send("READY=1", f"MAINPID={os.getpid()}")
        await first
        notice.send("STOPPING=1")
        stopping = asyncio.create_task(_stop(app, others))
        second = asyncio.create_task(stops.second.wait())
        await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            for each in (app, *others):
                each.hurry()
        second.cancel()
        await stopping
    finally:
        first.cancel()
        alive.cancel()
        if stopping is None:
            for each in (app, *others):
                await each.give_up()
    return app


async def _stop(app: App, others: Sequence[App]) -> None:
    """Stop all of them at once."""
    await asyncio.gather(*(each.stop() for each in (app, *others)))
    reports = [each.last_report for each in (app, *others) if each.last_report is not None]
    if others and reports:
        app.last_report = RunResult.merged(reports)


def own_process() -> None:
    """Set up the interpreter of a process that only serves. Not for a process that belongs to a test or a program."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()  # what exists now stays: the collector need not visit it again
    gc.set_threshold(*COLLECTED)


def runner() -> asyncio.Runner:
    """Return a runner with uvloop, on which every proxy serves."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def serve(
    settings: Settings,
    ready: Callable[[App, Addresses], None],
    *,
    wait_upstream: float = 0,
    admin: AdminPort | None = None,
    access: Callable[[AccessEntry], None] | None = None,
    ranks: Sequence[Settings] = (),
) -> App:
    """`run` on uvloop, in this thread."""
    return on_loop(run(settings, ready, wait_upstream=wait_upstream, admin=admin, access=access, ranks=ranks))
