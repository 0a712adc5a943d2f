"""A listener before the client's: URLs of the recorded server lead the client back to us (`core.origins`)."""

from __future__ import annotations

from replayproxy.core import headers
from replayproxy.core.origins import for_client
from replayproxy.model import End, Head, Request
from replayproxy.ports import Listener


class ClientOrigin:
    """A `Listener` that changes heads alone.

    What comes once per chunk is the client's own method, so that a stream does not pay for a call more.
    """

    __slots__ = ("_client", "_origin", "_prefix", "burst", "chunk", "leg", "ready")

    def __init__(self, client: Listener, request: Request, target: str, *, tls: bool) -> None:
        """`request` is as the client sent it, `target` what is left of its target without a scope."""
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
        """Give the URLs in it the origin that the client used."""
        await self._client.head(head._replace(headers=for_client(head.headers, self._origin, self._prefix)))

    async def end(self, end: End) -> None:
        """Pass it on."""
        await self._client.end(end)
