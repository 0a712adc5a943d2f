"""A proxy in a thread of its own, with a loop of its own: what the program does meanwhile, it does not wait for.

    program's thread ── call(coroutine) ──▶ loop of the proxy ── result ──▶ program's thread

One place for it, also under `async with`: a program that blocks its own loop, which tests do, must not hold up the
answer that it waits for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from replayproxy.errors import ReplayProxyError

if TYPE_CHECKING:
    from replayproxy.assembly import App
    from replayproxy.proxy.request_log import RequestLog
    from replayproxy.settings import Settings

T = TypeVar("T")


class ProxyThread:
    """Starts an app, does things on its loop, stops it. Its methods may be called from any other thread."""

    def __init__(self, settings: Settings, journal: RequestLog, wait_upstream: float) -> None:
        """Start, and wait until it listens. Raises `ReplayProxyError`; then nothing of the start stays."""
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="replayproxy", daemon=True)
        self._thread.start()
        self._loop.result()
        try:
            self.app, self.url, self.admin_url = self.call(self._start(settings, journal, wait_upstream))
        except BaseException:
            self._end()
            raise

    def _run(self) -> None:
        from replayproxy.lifetime import on_loop

        try:
            on_loop(self._until_ended())
        except BaseException as error:  # noqa: BLE001  whoever waits for the loop gets it
            if not self._loop.done():
                self._loop.set_exception(error)

    async def _until_ended(self) -> None:
        self._loop.set_result(asyncio.get_running_loop())
        await self._ended.wait()

    @staticmethod
    async def _start(settings: Settings, journal: RequestLog, wait_upstream: float) -> tuple[App, str, str | None]:
        from replayproxy.assembly import App
        from replayproxy.lifetime import reach

        app = App(settings, journal=journal)
        try:
            await reach(app, wait_upstream)
            addresses = await app.start()
        except BaseException:
            await app.give_up()
            raise
        return app, addresses.url, addresses.admin_url

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and wait for it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise ReplayProxyError("a proxy cannot wait for itself: call this from another thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop.result()).result()

    def stop(self, drain: float | None) -> None:
        """Let answers finish for `drain` seconds, write, seal; then end the thread."""
        try:
            self.call(self.app.stop(drain))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.result().call_soon_threadsafe(self._ended.set)
        self._thread.join()
