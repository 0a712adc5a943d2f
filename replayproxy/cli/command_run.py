"""One run of `exec`: a proxy and a command, each started and ended in its turn, and the variables the command gets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from replayproxy import lifetime
from replayproxy.assembly import Addresses, App
from replayproxy.cli import child
from replayproxy.cli.child import Signals
from replayproxy.cli.judging.verdict import CommandResult
from replayproxy.core.no_proxy import no_proxy_for
from replayproxy.settings import Settings

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class CommandRun:
    """One app and one command. A signal that no command is there to get ends what is going on."""

    def __init__(self, settings: Settings, command: tuple[str, ...], wait_upstream: float) -> None:
        self._settings = settings
        self._command = command
        self._wait_upstream = wait_upstream
        self._signal: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app: App | None = None
        self._task: asyncio.Task[Any] | None = None
        self._signals = Signals(self._unclaimed)

    def to_its_end(self) -> tuple[App | None, CommandResult]:
        """Serve, run, stop, seal. Without an app: a signal came before the command was started."""
        try:
            return lifetime.on_loop(self._serve())
        except asyncio.CancelledError:
            number = self._signal or 0
            trouble = f"stopped by signal {number} before `{self._command[0]}` was started"
            return None, CommandResult(self._command, 128 + number, trouble=trouble)

    async def _serve(self) -> tuple[App, CommandResult]:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._signal is not None:
            raise asyncio.CancelledError
        async with lifetime.serving(self._settings, wait_upstream=self._wait_upstream) as (app, addresses):
            self._app = app
            ended = await child.run(self._command, child_variables(os.environ, addresses), self._signals)
        return app, ended

    def _unclaimed(self, number: int) -> None:
        """Called in the thread that hears signals."""
        self._signal = number
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self._signals.claimed and self._app is not None:  # the command is over: only hurry
            self._app.server.hurry()
        elif self._task is not None:
            self._task.cancel()


def child_variables(variables: Mapping[str, str], addresses: Addresses) -> dict[str, str]:
    """What the command gets to see: where the recordings are, some key, and that no proxy stands before them."""
    url = addresses.url
    told = dict(variables)
    told |= {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_BASE": f"{url}/v1"}
    told |= {"ANTHROPIC_BASE_URL": url, "REPLAYPROXY_URL": url}
    if addresses.admin_url is not None:
        told["REPLAYPROXY_ADMIN"] = addresses.admin_url
    for name in KEYS:  # an empty one is what CI gives for a secret that a fork may not have
        told[name] = told.get(name) or "replayproxy"
    return told | no_proxy_for(told)
