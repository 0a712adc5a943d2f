"""Tests of `api/proxy_thread`: a loop beside the program."""

from __future__ import annotations

import threading
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
    proxy = ProxyThread(Settings(Mode.SIMULATE, listen=LISTEN), RequestLog(), 0)

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
    proxy = ProxyThread(Settings(Mode.SIMULATE, listen=LISTEN), RequestLog(), 0)

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
        ProxyThread(settings, RequestLog(), 0)
    assert "replayproxy" not in {thread.name for thread in threading.enumerate()}
