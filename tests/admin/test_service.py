"""Tests of `admin/service`: control, pages and metrics are connected, and the port ends with its proxy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from replayproxy.admin.service import serve_admin
from replayproxy.app import App
from replayproxy.errors import SettingsError
from replayproxy.model import Request
from replayproxy.net.http_server import free_socket
from replayproxy.settings import Listen
from tests import recordings, wire
from tests.apps import replaying, run, running


def test_pages_and_metrics_are_those_of_the_proxy(tmp_path: Path) -> None:
    """Ready while it serves; the mode and a request are in the metrics."""
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def ask() -> None:
        async with running(replaying(cassette), admin=True) as proxy:
            assert proxy.admin_url is not None
            await wire.ask(proxy.url, recordings.asked("a"))
            ready = await wire.ask(proxy.admin_url, Request("GET", "/ready"))
            assert orjson.loads(ready.body) == {"status": "ready", "reasons": []}
            metrics = (await wire.ask(proxy.admin_url, Request("GET", "/metrics"))).body
            assert b'replayproxy_requests_total{outcome="refuse"} 1.0' in metrics
            assert b'mode="replay"' in metrics

    run(ask())


def test_a_port_in_use_is_refused_with_the_setting(tmp_path: Path) -> None:
    """The data port was free, and is free again."""
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def start() -> None:
        taken = free_socket("127.0.0.1", 0)
        listen = Listen(port=0, admin_port=taken.getsockname()[1])
        app = App(replaying(cassette, listen=listen), admin=serve_admin)
        with pytest.raises(SettingsError, match="choose another --admin-port, or 0 for a free one, or off"):
            await app.start()
        await app.give_up()
        taken.close()

    run(start())


def test_the_task_ends_when_the_proxy_has_stopped(tmp_path: Path) -> None:
    """It has closed its connections by then."""
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def serve() -> None:
        app = App(replaying(cassette, listen=replace(Listen(), port=0, admin_port=None)))
        settings = replace(app.settings, listen=Listen(port=0, admin_port=0))
        app.control.settings = settings
        stopped = asyncio.Event()
        url, task = serve_admin(app.control, stopped)
        assert (await wire.ask(url, Request("GET", "/health"))).status == 200
        stopped.set()
        await asyncio.wait_for(task, 10)
        assert task.exception() is None
        await app.give_up()

    run(serve())
