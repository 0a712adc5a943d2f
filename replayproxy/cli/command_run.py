"""One run of `exec`: a proxy and a command, each started and ended in its turn, and the variables the command gets.

signals thread ── hurry ──▶ ProxyServer, in its own thread
main thread    ── start the proxy, run the command, end the proxy
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Self

from replayproxy.api.client_environment import client_environment
from replayproxy.api.server import ProxyServer
from replayproxy.cli import child
from replayproxy.cli.child import Signals
from replayproxy.lifetime import own_process
from replayproxy.proxy.verdict import CommandResult
from replayproxy.settings import Settings

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class CommandRun:
    """One proxy and one command. A signal that arrives while no command runs ends what is going on.

    A context manager: behind it this process has the signals again that it had before.
    """

    def __init__(self, settings: Settings, command: tuple[str, ...], wait_upstream: float) -> None:
        self._command = command
        self._signal: int | None = None
        self._server = ProxyServer(settings, wait_upstream, keep_calls=False)
        self._signals = Signals(self._signal_without_command)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.close()

    def to_its_end(self) -> tuple[ProxyServer | None, CommandResult]:
        """Serve, run the command, stop, seal. Without a server: a signal arrived before the command was started."""
        own_process()
        try:
            self._server.start()
        except CancelledError:
            return None, self._not_started()
        try:
            variables = child_variables(os.environ, self._server.url, self._server.admin_url)
            result = child.run(self._command, variables, self._signals)
        finally:
            self._server.end()
        if self._signal is not None and not self._signals.claimed:
            return None, self._not_started()
        return self._server, result

    def _not_started(self) -> CommandResult:
        number = self._signal or 0
        trouble = f"stopped by signal {number} before `{self._command[0]}` was started"
        return CommandResult(self._command, 128 + number, trouble=trouble)

    def _signal_without_command(self, number: int) -> None:
        """Called in the thread that receives signals: there is no command yet, or it has ended."""
        self._signal = number
        self._server.hurry()


def child_variables(variables: Mapping[str, str], url: str, admin_url: str | None) -> dict[str, str]:
    """Return the environment of the command: `variables`, the proxy's addresses, and a key for SDKs that want one."""
    environment = dict(variables) | client_environment(url, variables)
    if admin_url is not None:
        environment["REPLAYPROXY_ADMIN"] = admin_url
    for name in KEYS:  # CI sets an empty one for a secret that a fork may not have
        environment[name] = environment.get(name) or "replayproxy"
    return environment
