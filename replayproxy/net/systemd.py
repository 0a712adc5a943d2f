"""Tell systemd how the process is: ready, stopping, alive (sd_notify(3)). Without `NOTIFY_SOCKET` nothing is sent.

[Service]  Type=notify  WatchdogSec=30s     READY=1 ── WATCHDOG=1 every 15 s ── STOPPING=1
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping

log = logging.getLogger("replayproxy")


class ServiceNotice:
    """Sends states to the socket that the environment names."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """`pid` is this process: `WATCHDOG_PID` may name another one, whose watchdog is not ours."""
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ is the abstract namespace of Linux, whose names begin with a NUL.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        own = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environment.get("WATCHDOG_USEC", "") if own else ""
        self.interval = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0
        """Seconds between two signs of life: half of what systemd waits for; 0: none is expected."""

    def send(self, *states: str) -> None:
        """Send states such as `READY=1`. A service manager that does not listen costs nothing but a line in the log."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notice:
                notice.setblocking(False)
                notice.sendto("\n".join(states).encode(), self._address)
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", " ".join(states), error.strerror or error)

    async def live(self) -> None:
        """Send signs of life until cancelled. A loop that hangs sends none, and systemd restarts the service."""
        while self._address and self.interval:
            self.send("WATCHDOG=1")
            await asyncio.sleep(self.interval)
