"""Keeps tests on this machine: an audit hook (PEP 578) refuses what Python's sockets are about to do.

Nothing is patched, so other plugins may patch `socket`, and code with its own reference to `connect` is refused too.
What does not use Python's sockets is not seen: child processes, and the connections of uvloop and libcurl.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

_LOOKED_UP = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_REACHED = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
_ADDRESS_AT = _LOOKED_UP | _REACHED
"""The index of the address in an event's arguments."""


class NetworkBlocked(RuntimeError):
    """A test tried to leave this machine. Not an `OSError`, because clients retry after those."""


class Guard:
    """Refuses addresses while it is `armed`. The hook stays in the process and does nothing afterwards."""

    def __init__(self) -> None:
        self._allowed: frozenset[str] | None = None
        self._addresses: dict[str, frozenset[str]] = {}
        self._installed = False
        self._resolving = threading.local()
        self.exempt_threads: Set[int] = frozenset()
        """Ids of threads that may connect to any address: those of the proxies."""

    @contextmanager
    def armed(self, allowed: Sequence[str]) -> Iterator[None]:
        """Refuse everything but this machine and these hosts (names, addresses, patterns such as `*.test`)."""
        if not self._installed:
            sys.addaudithook(self._on_audit_event)
            self._installed = True
        before, self._allowed = self._allowed, frozenset(host.strip().lower() for host in allowed)
        try:
            yield
        finally:
            self._allowed = before

    def _on_audit_event(self, event: str, details: tuple[Any, ...]) -> None:
        if self._allowed is None or event not in _ADDRESS_AT:
            return
        if threading.get_ident() in self.exempt_threads or getattr(self._resolving, "now", False):
            return
        address = details[_ADDRESS_AT[event]]
        host = address[0] if isinstance(address, tuple) and event in _REACHED else address
        if isinstance(host, bytes):
            host = host.decode("latin-1")
        # A path is a Unix socket, a number another kind of socket: neither leaves the machine.
        if not isinstance(host, str) or (event in _REACHED and not isinstance(address, tuple)):
            return
        if not self._may_reach(host.lower(), self._allowed):
            port = f":{address[1]}" if isinstance(address, tuple) else ""
            raise NetworkBlocked(
                f"replayproxy: this test may not leave the machine, and wanted to reach {host}{port}: give it a"
                f" recording, or @pytest.mark.replayproxy_block_network(allowed=[{host!r}])"
            )

    def _may_reach(self, host: str, allowed: frozenset[str]) -> bool:
        if host in ("", "localhost", *allowed) or host.endswith(".localhost"):
            return True
        if any(fnmatchcase(host, pattern) for pattern in allowed):
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if address.is_loopback or address.is_unspecified:
            return True
        return any(host in self._resolved(name) for name in allowed)

    def _resolved(self, name: str) -> frozenset[str]:
        """The addresses of an allowed name. The client has looked them up before, so this is quick."""
        if name not in self._addresses:
            self._resolving.now = True
            try:
                found = socket.getaddrinfo(name, None)
            except OSError:
                found = []
            finally:
                self._resolving.now = False
            self._addresses[name] = frozenset(str(entry[4][0]).lower() for entry in found)
        return self._addresses[name]
