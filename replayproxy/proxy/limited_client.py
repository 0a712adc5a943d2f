"""A listener before the client's that adds fields to the head: what is left of the rate limits."""

from __future__ import annotations

from replayproxy.model import End, Head, Headers
from replayproxy.ports import ClientListener


class LimitedClient:
    """Changes heads alone. What comes once per chunk is the client's own method."""

    __slots__ = ("_client", "_fields", "burst", "chunk", "leg", "ready", "reset")

    def __init__(self, client: ClientListener, fields: Headers) -> None:
        self._client = client
        self._fields = fields
        self.chunk = client.chunk
        self.burst = client.burst
        self.leg = client.leg
        self.ready = client.ready
        self.reset = client.reset

    @property
    def wants_whole(self) -> bool:
        """As the client."""
        return self._client.wants_whole

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent."""
        return self._client.congested

    @property
    def whole(self) -> bool:
        """Whether an answer was sent to its end."""
        return self._client.whole

    @property
    def succeeded(self) -> bool:
        """Whether an answer was sent to its end that reports no error."""
        return self._client.succeeded

    async def head(self, head: Head) -> None:
        """Add the fields in place of recorded ones of the same names."""
        names = {name.lower() for name, _ in self._fields}
        kept = tuple((name, value) for name, value in head.headers if name.lower() not in names)
        await self._client.head(head._replace(headers=kept + self._fields))

    async def end(self, end: End) -> None:
        """Pass it on."""
        await self._client.end(end)
