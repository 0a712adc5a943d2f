"""An app in the test's own event loop: quicker than a process, the same parts, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from replayproxy.admin.service import serve_admin
from replayproxy.app import App
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.policy import Mode
from replayproxy.model import Ending, Exchange
from replayproxy.settings import Pair, Settings
from tests.doubles.pair_double import Pair as PairDouble

T = TypeVar("T")


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run a test on the loop that serves in earnest."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(test)


class Running:
    """A started app and where it listens."""

    def __init__(self, app: App, url: str, admin_url: str | None) -> None:
        self.app = app
        self.url = url
        self.admin_url = admin_url


@asynccontextmanager
async def running(settings: Settings, *, admin: bool = False, drain: float = 5.0) -> AsyncIterator[Running]:
    """Start an app on free ports; stop and seal on the way out."""
    listen = replace(settings.listen, port=0, admin_port=0 if admin else None, drain=drain)
    app = App(replace(settings, listen=listen), admin=serve_admin)
    addresses = await app.start()
    try:
        yield Running(app, addresses.url, addresses.admin_url)
    finally:
        await app.stop()


def recording(cassette: Path, upstream: str, **more: Any) -> Settings:
    """Settings of `record`."""
    return Settings(Mode.RECORD, (cassette,), upstream, **more)


def pairing(cassette: Path, double: PairDouble, *, pair: dict[str, Any] | None = None, **more: Any) -> Settings:
    """Settings of `record` with a prefill/decode pair; `pair` holds what differs from the protocol's own."""
    by_address = double.protocol == "addr-id"
    servers = Pair(
        prefill=tuple(server.url for server in double.prefills),
        decode=tuple(server.url for server in double.decodes),
        protocol=double.protocol,
        prefill_kv=tuple(server.kv_address for server in double.prefills) if by_address else (),
        decode_kv=tuple(server.kv_address for server in double.decodes) if by_address else (),
        bootstrap_port=double.bootstrap_port,
    )
    return Settings(Mode.RECORD, (cassette,), pair=replace(servers, **(pair or {})), **more)


def replaying(*cassettes: Path, **more: Any) -> Settings:
    """Settings of `replay`."""
    return Settings(Mode.REPLAY, cassettes, **more)


def exchanges(cassette: Path) -> list[Exchange]:
    """Everything on a sealed cassette, oldest first."""
    with CassetteReader(cassette) as opened:
        return [opened.exchange(row["number"]) for row in opened.rows("state = 'done'")]


def endings(cassette: Path) -> list[Ending]:
    """How the exchanges on a sealed cassette ended."""
    return [exchange.response.ending for exchange in exchanges(cassette)]
