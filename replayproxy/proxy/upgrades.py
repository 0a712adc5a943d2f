"""Answers requests to switch to another protocol, such as WebSocket: connected with the live server, or refused.

Does not know sockets: the tunnel to the server is given, and absent where there is no server that can switch.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from replayproxy.core.policy import Mode, OnMiss, Refuse, Tunnel, decide_upgrade, looks_for_recordings
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import split_scope
from replayproxy.errors import ClientError
from replayproxy.model import Request
from replayproxy.ports import Listener
from replayproxy.proxy.client_origin import ClientOrigin
from replayproxy.proxy.request_log import Call
from replayproxy.proxy.run_state import RunState
from replayproxy.views.miss import Miss

log = logging.getLogger("replayproxy")

Detach = TypeVar("Detach")
"""The type of what takes the client's connection away from HTTP. It is passed on, and not used here."""


class Upgrades(Generic[Detach]):
    """Answers requests to switch protocols, as `core.policy.decide_upgrade` says."""

    def __init__(
        self,
        mode: Mode,
        on_miss: OnMiss,
        *,
        state: RunState,
        redactor: Redactor | None,
        tls: bool = False,
        tunnel: Callable[[Request, Listener, Detach], Awaitable[None]] | None = None,
    ) -> None:
        """`tls`: clients reach the proxy by https. `redactor` None: for a cassette older than redaction."""
        self._decision = decide_upgrade(mode, on_miss, has_tunnel=tunnel is not None)
        self._has_scopes = looks_for_recordings(mode)
        self._state = state
        self._redactor = redactor or Redactor(b"")
        self._tls = tls
        self._tunnel = tunnel

    async def answer(self, request: Request, client: Listener, detach: Detach) -> None:
        """Connect client and server until one of them closes. Raises `ClientError` where no server can switch."""
        match self._decision:
            case Tunnel():
                await self._connect(request, client, detach)
            case Refuse():
                self._refuse(request)

    async def _connect(self, request: Request, client: Listener, detach: Detach) -> None:
        assert self._tunnel is not None, "decided Tunnel without a tunnel"
        self._state.count_only("upgrade")
        if self._state.counters.requests["upgrade"] == 1:
            path = self._redactor.request(request).path
            log.warning("%s asks for an upgrade: forwarded, not recorded (counted in metrics from here on)", path)
        unscoped = split_scope(request)[1] if self._has_scopes else request
        await self._tunnel(unscoped, ClientOrigin(client, request, unscoped.target, tls=self._tls), detach)

    def _refuse(self, request: Request) -> None:
        shown = self._redactor.request(request)
        name = self._state.note_miss(Miss("unsupported", shown, ""))
        scope, unscoped = split_scope(shown)
        self._state.log_call(Call(unscoped, scope, "refuse", miss=name))
        raise ClientError(
            f"{shown.method} {shown.path} asks for another protocol than HTTP, which is not recorded: send it"
            " to a live server",
            status=404,
            code="unsupported",
        )
