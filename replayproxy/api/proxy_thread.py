"""A proxy in a thread of its own with a loop of its own, beside the program that uses it.

    program's thread ── call(coroutine) ──▶ loop of the proxy ── result ──▶ program's thread

The same under `async with`: a program that blocks its own loop, as tests do, must not delay the answer that it waits
for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from replayproxy.errors import ReplayProxyError

if TYPE_CHECKING:
    from replayproxy.app import App
    from replayproxy.proxy.request_log import RequestLog
    from replayproxy.settings import Settings

T = TypeVar("T")


class ProxyThread:
    """Starts an app, calls coroutines on its loop, stops it. Its methods may be called from any other thread."""

    def __init__(self) -> None:
        """Start the thread and its loop; `start` starts the app."""
        self.url = ""
        self.admin_url: str | None = None
        self._app: App | None = None
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._ended = asyncio.Event()
        self._starting: asyncio.Task[Any] | None = None
        self._is_hurried = False
        self._thread = threading.Thread(target=self._run, name="replayproxy", daemon=True)
        self._thread.start()
        self._loop.result()

    @property
    def app(self) -> App:
        """The app that `start` has started."""
        assert self._app is not None
        return self._app

    @property
    def thread_id(self) -> int:
        """The id of the thread, as `threading.get_ident` returns it there."""
        assert self._thread.ident is not None
        return self._thread.ident

    # Life

    def start(self, settings: Settings, request_log: RequestLog | None, wait_upstream: float | None) -> None:
        """Start an app and wait until it listens. Raises `ReplayProxyError`; then nothing of the start stays.

        `wait_upstream`: seconds that the upstream may take; None does not contact it. Raises
        `concurrent.futures.CancelledError` after a call of `hurry`.
        """
        try:
            self.call(self._start(settings, request_log, wait_upstream))
        except BaseException:
            self._end()
            raise

    async def _start(self, settings: Settings, request_log: RequestLog | None, wait_upstream: float | None) -> None:
        from replayproxy.admin.service import serve_admin
        from replayproxy.app import App
        from replayproxy.lifetime import reach

        if self._is_hurried:
            raise asyncio.CancelledError
        self._starting = asyncio.current_task()
        app = App(settings, request_log=request_log, admin=serve_admin)
        try:
            if wait_upstream is not None:
                await reach(app, wait_upstream)
            addresses = await app.start()
        except BaseException:
            await app.give_up()
            raise
        self._starting = None
        self._app, self.url, self.admin_url = app, addresses.url, addresses.admin_url

    def hurry(self) -> None:
        """Cancel a start in progress; of an app that is stopping, close the connections that it waits for."""
        self._loop.result().call_soon_threadsafe(self._hurry)

    def _hurry(self) -> None:
        self._is_hurried = True
        if self._starting is not None:
            # The task is cancelled and not the future of `call`, which would not wait for `give_up`.
            self._starting.cancel()
        elif self._app is not None:
            self._app.hurry()

    def stop(self, drain: float | None) -> None:
        """Let answers finish for `drain` seconds, write, seal; then end the thread."""
        try:
            self.call(self.app.stop(drain))
        finally:
            self._end()

    # The loop

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result. Raises `ReplayProxyError` when called on the loop."""
        if threading.current_thread() is self._thread:
            work.close()
            raise ReplayProxyError("a proxy cannot wait for itself: call this from another thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop.result()).result()

    def _run(self) -> None:
        from replayproxy.lifetime import on_loop

        try:
            on_loop(self._until_ended())
        except BaseException as error:  # noqa: BLE001  the thread that waits for the loop raises it
            if not self._loop.done():
                self._loop.set_exception(error)

    async def _until_ended(self) -> None:
        self._loop.set_result(asyncio.get_running_loop())
        await self._ended.wait()

    def _end(self) -> None:
        self._loop.result().call_soon_threadsafe(self._ended.set)
        self._thread.join()
