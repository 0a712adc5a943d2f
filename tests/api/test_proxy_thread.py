"""Tests of `api/proxy_thread`: a loop beside the program."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from replayproxy.api.proxy_thread import ProxyThread
from replayproxy.core.policy import Mode
from replayproxy.errors import CassetteError, ReplayProxyError
from replayproxy.proxy.request_log import RequestLog
from replayproxy.settings import Listen, Settings

LISTEN = Listen(port=0, admin_port=None)


def test_work_is_done_on_another_thread() -> None:
    """And its result or error comes back."""
    proxy = ProxyThread()
    proxy.start(Settings(Mode.SIMULATE, listen=LISTEN), RequestLog(), 0)

    async def name() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise KeyError("x")

    try:
        assert proxy.call(name()) == "replayproxy"
        with pytest.raises(KeyError):
            proxy.call(fail())
        assert proxy.url.startswith("http://127.0.0.1:")
    finally:
        proxy.stop(0)
    assert "replayproxy" not in {thread.name for thread in threading.enumerate()}


def test_it_does_not_wait_for_itself() -> None:
    """That would last for ever."""
    proxy = ProxyThread()
    proxy.start(Settings(Mode.SIMULATE, listen=LISTEN), RequestLog(), 0)

    async def nothing() -> None:
        """Nothing."""

    async def wait_for_itself() -> None:
        proxy.call(nothing())

    try:
        with pytest.raises(ReplayProxyError, match="another thread"):
            proxy.call(wait_for_itself())
    finally:
        proxy.stop(0)


def test_a_start_that_fails_ends_the_thread(tmp_path: Path) -> None:
    """With the error of the thing at fault."""
    settings = Settings(Mode.REPLAY, (tmp_path / "missing.cassette",), listen=LISTEN)
    with pytest.raises(CassetteError):
        ProxyThread().start(settings, RequestLog(), 0)
    assert "replayproxy" not in {thread.name for thread in threading.enumerate()}


def test_hurry_cancels_a_start_and_leaves_nothing(tmp_path: Path) -> None:
    """Also one that waits for its upstream; nothing was written, and the thread has ended."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        upstream = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        settings = Settings(Mode.RECORD, (tmp_path / "new.cassette",), upstream, listen=LISTEN)
        proxy = ProxyThread()
        proxy.hurry()
        with pytest.raises(CancelledError):
            proxy.start(settings, None, 60)
        proxy = ProxyThread()
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(proxy.start, settings, None, 60)
            while proxy.call(waiting()) == 0:
                pass
            proxy.hurry()
            with pytest.raises(CancelledError):
                started.result(30)
    assert list(tmp_path.iterdir()) == []
    assert "replayproxy" not in {thread.name for thread in threading.enumerate()}


async def waiting() -> int:
    """How many other tasks there are on the loop, besides the one that keeps it."""
    return len(asyncio.all_tasks()) - 2
