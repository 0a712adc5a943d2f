"""Publish numbered batches over ZeroMQ, and send those again that a subscriber has missed, as vLLM does.

    publish ──▶ PUB socket: topic, number, payload
    ROUTER socket: a number ──▶ each kept batch from it on: topic, number, payload ──▶ empty, 8 bytes of 0xFF, empty

Does not know what a batch holds. pyzmq is needed where somebody asks for this, and is loaded then: `replayproxy[zmq]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from replayproxy.errors import SettingsError, setting

if TYPE_CHECKING:
    import zmq.asyncio

Frames = tuple[bytes, bytes, bytes]
"""Topic, number and payload of a batch."""

END = b"\xff" * 8
"""In the place of a number: the replay is complete (vLLM's `END_SEQ`, -1 in 8 bytes)."""

MOST_UNSENT = 100_000
"""Batches that are kept for a subscriber who does not read (the high-water mark of vLLM's socket)."""

LONGEST_REPLAY = 10.0
"""Seconds in which a client must take a replayed batch; one that does not read blocks no other for longer."""


def is_bound(endpoint: str) -> bool:
    """Whether an endpoint is bound and not connected to: with a wildcard, or within this machine; so has it vLLM."""
    return "*" in endpoint or "::" in endpoint or endpoint.startswith(("ipc://", "inproc://"))


def of_rank(endpoint: str, rank: int) -> str:
    """The endpoint of a data-parallel rank: the port plus the rank; `inproc` gets a suffix. A port of 0 stays."""
    if not rank:
        return endpoint
    if endpoint.startswith("inproc://"):
        return f"{endpoint}_dp{rank}"
    address, colon, port = endpoint.rpartition(":")
    if not endpoint.startswith("tcp://") or not port.isdigit() or port == "0":
        return endpoint
    return f"{address}{colon}{int(port) + rank}"


class ZmqPublisher:
    """The two sockets. Used by one event loop, except for making it."""

    def __init__(
        self,
        endpoint: str,
        topic: str = "",
        *,
        replay_endpoint: str | None = None,
        since: Callable[[int], Sequence[Frames]] = lambda _: (),
    ) -> None:
        """`topic` is that of batches which have none of their own. `since` gives the kept batches from a number on.

        Raises `SettingsError`; then no socket stays open.
        """
        try:
            import zmq
            import zmq.asyncio
        except ImportError as error:
            raise SettingsError(
                f"{setting('zmq_endpoint', endpoint)} needs pyzmq, which is not installed: pip install"
                " 'replayproxy[zmq]'"
            ) from error
        self._zmq: Any = zmq
        self._topic = topic.encode()
        self._since = since
        self._context = zmq.Context()
        self._pub: zmq.Socket[bytes] = self._context.socket(zmq.PUB)
        self._pub.set_hwm(MOST_UNSENT)
        self._router: zmq.asyncio.Socket | None = None
        self._async_context: zmq.asyncio.Context | None = None
        self._serving: asyncio.Task[None] | None = None
        self.replay_endpoint: str | None = None
        """Where the socket for replays was bound."""
        try:
            self.endpoint = self._open(self._pub, endpoint, is_bound(endpoint))
            if replay_endpoint is not None:
                self._async_context = zmq.asyncio.Context(self._context)
                self._router = self._async_context.socket(zmq.ROUTER)
                self._router.set(zmq.SNDTIMEO, round(LONGEST_REPLAY * 1000))
                self.replay_endpoint = self._open(self._router, replay_endpoint, True, "kv_events_replay_endpoint")
        except SettingsError:
            self.close()
            raise

    def _open(self, socket: Any, endpoint: str, binds: bool, name: str = "zmq_endpoint") -> str:
        try:
            if not binds:
                socket.connect(endpoint)
                return endpoint
            socket.bind(endpoint)
            return str(socket.get_string(self._zmq.LAST_ENDPOINT))
        except self._zmq.ZMQError as error:
            what = "be bound" if binds else "be connected to"
            raise SettingsError(
                f"{setting(name, endpoint)} cannot {what}: {error.strerror}; an endpoint is such as tcp://*:5557"
            ) from error

    def start(self) -> None:
        """Serve replays, if there is an endpoint for them."""
        if self._router is not None:
            self._serving = asyncio.get_running_loop().create_task(self._serve(self._router))

    @property
    def topic(self) -> bytes:
        """That of batches which have none of their own."""
        return self._topic

    def publish(self, sequence: bytes, payload: bytes, topic: bytes | None = None) -> None:
        """Send one batch. Never waits: what a slow subscriber cannot take is lost to it, and it asks for a replay."""
        frames = (self._topic if topic is None else topic, sequence, payload)
        self._pub.send_multipart(frames, self._zmq.NOBLOCK)

    async def _serve(self, router: zmq.asyncio.Socket) -> None:
        while True:
            frames = await router.recv_multipart()
            if len(frames) != 3 or len(frames[2]) > 8:
                continue  # not a request of this protocol; vLLM says nothing either
            client, _, start = frames
            batches = self._since(int.from_bytes(start, "big"))
            with suppress(self._zmq.ZMQError):  # its client does not read
                for topic, sequence, payload in batches:
                    await router.send_multipart((client, b"", topic, sequence, payload))
                await router.send_multipart((client, b"", b"", END, b""))

    def close(self) -> None:
        """Close the sockets. What has been published and not sent within a second is lost."""
        if self._serving is not None:
            self._serving.cancel()
        if self._router is not None:
            self._router.close(linger=0)
        self._pub.close(linger=1000)
        self._context.term()
