"""Tests of `systemd`: datagrams as sd_notify(3) has them, and silence without a service manager."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from replayproxy.net.systemd import ServiceNotice


@pytest.mark.parametrize("abstract", [False, True])
def test_states_are_sent_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """To a path, or to a name of the abstract namespace."""
    path = str(tmp_path / "notify")
    name = f"@{path}" if abstract else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if abstract else path)
        ServiceNotice({"NOTIFY_SOCKET": name}, 7).send("READY=1", "MAINPID=7")
        assert manager.recv(1000) == b"READY=1\nMAINPID=7"


def test_signs_of_life_come_twice_as_often_as_they_are_expected(tmp_path: Path) -> None:
    """If the watchdog is this process's."""
    path = str(tmp_path / "notify")
    variables = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "7"}
    notice = ServiceNotice(variables, 7)
    assert notice.interval == 0.01
    assert ServiceNotice(variables, 8).interval == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(10)

        async def live() -> list[bytes]:
            alive = asyncio.create_task(notice.live())
            got = [await asyncio.to_thread(manager.recv, 1000) for _ in range(2)]
            alive.cancel()
            return got

        assert asyncio.run(live()) == [b"WATCHDOG=1", b"WATCHDOG=1"]


def test_without_a_service_manager_nothing_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And one that does not listen costs a line of the log."""
    ServiceNotice({}, 7).send("READY=1")
    asyncio.run(ServiceNotice({"WATCHDOG_USEC": "x"}, 7).live())
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        ServiceNotice({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, 7).send("READY=1")
    assert "systemd cannot be told READY=1" in caplog.text
