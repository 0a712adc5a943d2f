"""An app's life: from the first sign of its upstream over signals to its last words.

Sets up the process for serving, which is the business of whoever runs it and not of the app. Knows nothing of how the
app's parts are connected.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from replayproxy.assembly import Addresses, App
from replayproxy.errors import UpstreamError
from replayproxy.settings import Settings

T = TypeVar("T")

COLLECTED = (20_000, 20, 50)
"""Allocations before the collector looks: Python's 700 are for programs that make cycles with every request."""

SWITCH_INTERVAL = 0.000_5
"""Seconds. The writing thread may keep the interpreter for so long; Python's own 5 ms would show in recorded times."""


async def reach(app: App, patience: float) -> None:
    """Wait until the upstream accepts a connection. Raises `UpstreamError` when patience ends."""
    if app.upstream is None:
        return
    deadline = app.clock.now() + round(patience * 1e9)
    while True:
        try:
            await app.upstream.reach()
            return
        except UpstreamError:
            if app.clock.now() >= deadline:
                raise
            await app.clock.sleep_until(min(deadline, app.clock.now() + 500_000_000))


@asynccontextmanager
async def serving(
    settings: Settings, *, wait_upstream: float = 0, drain: float | None = None
) -> AsyncIterator[tuple[App, Addresses]]:
    """Serve while the block runs; stop and seal on the way out, however that is. Signals are the caller's."""
    own_process()
    app = App(settings)
    try:
        await reach(app, wait_upstream)
        addresses = await app.start()
    except BaseException:
        await app.give_up()
        raise
    try:
        yield app, addresses
    finally:
        await app.stop(drain)


def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end on uvloop, in this thread."""
    with runner() as loop:
        return loop.run(work)


async def run(settings: Settings, ready: Callable[[App, Addresses], None], *, wait_upstream: float = 0) -> App:
    """Serve until SIGINT or SIGTERM; a second one ends the draining. Gives the stopped app, for its last words."""
    app = App(settings)
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    stopping: asyncio.Task[None] | None = None
    try:
        reaching = asyncio.create_task(reach(app, wait_upstream))
        first = asyncio.create_task(signals.get())
        await asyncio.wait((reaching, first), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            reaching.cancel()
            return app
        await reaching
        own_process()
        ready(app, await app.start())
        await first
        stopping = asyncio.create_task(app.stop())
        second = asyncio.create_task(signals.get())
        await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            app.server.hurry()
        second.cancel()
        await stopping
    finally:
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


def serve(settings: Settings, ready: Callable[[App, Addresses], None], *, wait_upstream: float = 0) -> App:
    """`run` on uvloop, in this thread."""
    return on_loop(run(settings, ready, wait_upstream=wait_upstream))
