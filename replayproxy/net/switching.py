"""A connection to a server on which a WebSocket is asked for (RFC 9110 7.8, RFC 6455 4).

The server switches with a 101 for `websocket`, or gives an ordinary answer, which is played as any other. Until then
nothing but the request is sent: bytes behind a request that the server did not switch for would be its next request,
sent by us in the client's name.
"""

from __future__ import annotations

import asyncio

from replayproxy.core import headers
from replayproxy.core.answers import fault_in_head
from replayproxy.model import Head, Headers
from replayproxy.net.upstream_connection import UpstreamConnection


class SwitchingConnection(UpstreamConnection):
    """An `UpstreamConnection` whose answer may be a 101: `switched` is then set, `take_over` gives the rest."""

    switched = False
    _behind = b""

    def take_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport | None, bytes]:
        """Give the connection to another protocol, which is paused.

        Gives its transport, None where the server has hung up, and what came behind the head of the answer.
        """
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.set_protocol(protocol)
        return transport, self._behind

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self.switched:  # TLS may hold more of what was read before reading was paused
            self._behind += data
        else:
            super().data_received(data)

    # What the parser finds

    def switch_received(self, version: str, fields: Headers) -> str:
        if fault := "it switched protocols in HTTP/1.0" if version != "1.1" else _fault_in_switch(fields):
            return fault
        self.switched = True
        self._pause()
        if not self._head.done():
            self._head.set_result(Head(self._at, 101, headers.end_to_end(fields)))
        return ""

    def behind_switch_received(self, data: bytes) -> None:
        self._behind = data


def _fault_in_switch(fields: Headers) -> str:
    """Why this is not the head of a switch to WebSocket, as a phrase; nothing where it is."""

    def options(name: str) -> list[str]:
        values = [value for field, value in fields if field.lower() == name]
        return [option.strip(" \t").lower() for option in ",".join(values).split(",")]

    if options("upgrade") != ["websocket"] or "upgrade" not in options("connection"):
        return "it switched to another protocol than the WebSocket that it was asked for"
    # A body would be taken for frames by one of us and not by the other (RFC 9110 8.6, RFC 9112 6.1).
    if any(name.lower() in ("content-length", "transfer-encoding") for name, _ in fields):
        return "it switched protocols with a body"
    return fault_in_head(200, headers.end_to_end(fields)) or ""
