"""Rewrite URLs of the recorded server in a head, so that they lead the client to the proxy (`core.origins`)."""

from __future__ import annotations

from replayproxy.core import headers
from replayproxy.core.origins import for_client
from replayproxy.model import End, Head, Request
from replayproxy.ports import Listener


class ClientOrigin:
    """A `Listener` that changes heads only.

    Chunks go to the client's own method, so that a stream pays for no further call.
    """

    __slots__ = ("_client", "_origin", "_prefix", "burst", "chunk", "leg", "ready")

    def __init__(self, client: Listener, request: Request, target: str, *, tls: bool) -> None:
        """`request` is as the client sent it, `target` is its target without a scope."""
        self._client = client
        host = headers.get(request.headers, "host")
        self._origin = f"{'https' if tls else 'http'}://{host}" if host else ""
        self._prefix = request.target[: len(request.target) - len(target)] if request.target.endswith(target) else ""
        self.chunk = client.chunk
        self.burst = client.burst
        self.leg = client.leg
        self.ready = client.ready

    @property
    def wants_whole(self) -> bool:
        """As the client."""
        return self._client.wants_whole

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent."""
        return self._client.congested

    async def head(self, head: Head) -> None:
        """Pass it on with the origin that the client used in its URLs."""
        await self._client.head(head._replace(headers=for_client(head.headers, self._origin, self._prefix)))

    async def end(self, end: End) -> None:
        """Pass it on."""
        await self._client.end(end)
