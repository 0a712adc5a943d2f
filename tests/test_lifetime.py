"""Tests of `lifetime`: how long it waits for an upstream, and what signals mean."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replayproxy import lifetime
from replayproxy.api.options import settings_of
from replayproxy.app import Addresses, App
from replayproxy.core.policy import Mode
from replayproxy.errors import UpstreamUnreachable
from replayproxy.lifetime import Stops, reach
from tests.doubles.fakes import SECOND, ManualClock
from tests.unused_ports import unused_port


class SlowToStart:
    """An upstream that accepts connections from a time on."""

    def __init__(self, clock: ManualClock, ready_at: int) -> None:
        self.clock = clock
        self.ready_at = ready_at
        self.attempts = 0

    async def reach(self) -> None:
        """Raises `UpstreamUnreachable` until then."""
        self.attempts += 1
        if self.clock.now() < self.ready_at:
            raise UpstreamUnreachable("nobody answers at http://h:1")


def reached(ready_at: int, patience: float) -> tuple[int, int]:
    """Wait for it; how often it was tried, and until when."""
    clock = ManualClock()
    upstream = SlowToStart(clock, ready_at)
    app: Any = SimpleNamespace(parts=SimpleNamespace(upstream=upstream, clock=clock))
    asyncio.run(reach(cast(App, app), patience))
    return upstream.attempts, clock.now()


def test_an_upstream_is_tried_twice_a_second_until_it_accepts() -> None:
    """Without --wait-upstream once."""
    assert reached(0, 0) == (1, 0)
    assert reached(SECOND, 60) == (3, SECOND)


@pytest.mark.parametrize(
    ("patience", "sentence"),
    [
        (0, "only slower to start than this, wait for it with --wait-upstream 60s"),
        (0.7, "it was waited for 0.7 s; --wait-upstream gives it longer"),
    ],
)
def test_after_that_the_error_names_the_way_out(patience: float, sentence: str) -> None:
    """To wait at all, or for longer; spelled by the entry point."""
    with pytest.raises(UpstreamUnreachable, match=r"^nobody answers at http://h:1; ") as raised:
        reached(SECOND * 3600, patience)
    assert sentence in str(raised.value)
    raised.value.spelling = lambda name, value: f"<{name}>"
    assert "<wait_upstream>" in str(raised.value)


@pytest.mark.parametrize(
    ("numbers", "first", "second"),
    [
        ([], False, False),
        ([signal.SIGTERM], True, False),
        ([signal.SIGTERM, signal.SIGINT], True, True),
        ([signal.SIGHUP, signal.SIGHUP], True, False),
        ([signal.SIGHUP, signal.SIGTERM], True, True),
    ],
)
def test_a_second_signal_means_at_once(numbers: list[int], first: bool, second: bool) -> None:
    """But not a second SIGHUP, which the kernel and the shell each send when a terminal is closed."""
    stops = Stops()
    for number in numbers:
        stops.receive(number)
    assert (stops.first.is_set(), stops.second.is_set()) == (first, second)


async def body_of(url: str, path: str) -> str:
    """The body of an answer to GET."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    received = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return received.decode()


def test_ranks_serve_on_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own metrics, and all of them end with the first one."""
    receive: list[Callable[[int], None]] = []
    monkeypatch.setattr(lifetime, "listen_for_signals", receive.append)
    monkeypatch.setattr(lifetime, "own_process", lambda: None)  # this is the process of all tests
    port = unused_port()
    while not can_be_bound(port + 1):
        port = unused_port()
    settings = settings_of(Mode.SIMULATE, (), {"model": "tiny", "port": port, "admin_port": None})
    pages: list[str] = []

    def ready(_: App, addresses: Addresses) -> None:
        async def talk() -> None:
            try:
                assert addresses.url == f"http://127.0.0.1:{port}"
                urls = [f"http://127.0.0.1:{port + rank}" for rank in range(2)]
                pages.extend([await body_of(url, "/metrics") for url in urls])
            finally:
                receive[0](signal.SIGTERM)

        tasks.append(asyncio.get_running_loop().create_task(talk()))

    tasks: list[asyncio.Task[None]] = []
    app = asyncio.run(lifetime.run(settings, ready, ranks=settings.further_ranks(2)))
    for rank, page in enumerate(pages):
        assert f'vllm:num_requests_running{{engine="{rank}",model_name="tiny"}} 0.0' in page
    assert len(pages) == 2
    assert app.last_report is not None
    assert not can_be_connected(port + 1)


def can_be_bound(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def can_be_connected(port: int) -> bool:
    """Whether somebody listens there."""
    return not can_be_bound(port)
