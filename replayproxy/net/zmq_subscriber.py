"""Hear the KV events that a server publishes over ZeroMQ, as vLLM and llm-d-inference-sim do.

    SUB socket: topic, number, payload ──▶ some messages at once ──▶ take

Never in the way of traffic: what cannot be taken is lost and counted. Does not know what a payload holds. pyzmq is
loaded where somebody asks for this: `replayproxy[zmq]`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from replayproxy.core.server_state import MOST_MESSAGE, KvMessage, KvMessages
from replayproxy.errors import SettingsError, setting
from replayproxy.net.zmq_publisher import is_bound
from replayproxy.ports import Clock

log = logging.getLogger("replayproxy.recording")

MOST_UNREAD = 10_000
"""Messages that wait in the socket."""

TOGETHER = 250_000_000
"""Nanoseconds for which messages are collected before they are handed over: together they compress better."""

MOST_TOGETHER, MOST_TOGETHER_BYTES = 1000, 8 * 1024 * 1024
"""Messages and bytes that are handed over at once."""


class KvEventSubscriber:
    """Hears one publisher. An endpoint with a wildcard is bound, for publishers that connect; another one is connected
    to, again and again until somebody publishes there. `run` it as a task, and `close` it."""

    def __init__(self, endpoint: str, clock: Clock, take: Callable[[KvMessages], bool]) -> None:
        """`take` returns False where it has no room. Raises `SettingsError`."""
        try:
            import zmq
            import zmq.asyncio
        except ImportError as error:
            raise SettingsError(
                f"{setting('kv_events', endpoint)} needs pyzmq, which is not installed: pip install 'replayproxy[zmq]'"
            ) from error
        self.counts: Counter[str] = Counter()
        """`heard` messages; `missed` ones, by their numbers; `refused` ones, which are no KV events; `dropped` ones."""
        self._clock = clock
        self._take = take
        self._next: dict[bytes, int] = {}
        """By topic: the number that the next message should have."""
        self._words: set[str] = set()
        """Troubles that have been logged."""
        self._context: Any = zmq.asyncio.Context()
        self._socket: Any = self._context.socket(zmq.SUB)
        self._socket.set_hwm(MOST_UNREAD)
        self._socket.set(zmq.MAXMSGSIZE, MOST_MESSAGE)
        self._socket.subscribe(b"")
        try:
            if is_bound(endpoint):
                self._socket.bind(endpoint)
                endpoint = str(self._socket.get_string(zmq.LAST_ENDPOINT))
            else:
                self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SettingsError(
                f"{setting('kv_events', endpoint)} cannot be used: {error.strerror}; an endpoint is such as"
                " tcp://127.0.0.1:5557, where vLLM publishes"
            ) from error
        self.endpoint = endpoint
        """Where it hears."""

    async def run(self) -> None:
        """Hear until cancelled."""
        messages: list[KvMessage] = []
        try:
            while True:
                messages.append(await self._message())
                size, deadline = len(messages[0].payload), self._clock.now() + TOGETHER
                while len(messages) < MOST_TOGETHER and size < MOST_TOGETHER_BYTES:
                    left = (deadline - self._clock.now()) / 1e6
                    if left <= 0 or not await self._socket.poll(left):
                        break
                    messages.append(await self._message())
                    size += len(messages[-1].payload)
                self._hand_over(messages)
                messages = []
        finally:
            self._hand_over(messages)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
        self._context.term()

    async def _message(self) -> KvMessage:
        """The next message that is one. Its time is that at which it was read."""
        while True:
            frames = await self._socket.recv_multipart()
            if len(frames) == 3 and len(frames[1]) == 8:
                topic, sequence, payload = frames
                self._follow(topic, int.from_bytes(sequence, "big"))
                self.counts["heard"] += 1
                return KvMessage(self._clock.today(), topic, sequence, payload)
            self.counts["refused"] += 1
            self._say_once("refused", "%s sends messages that are no KV events: they are not recorded", self.endpoint)

    def _follow(self, topic: bytes, number: int) -> None:
        expected = self._next.get(topic)
        if expected is not None and number > expected:
            self.counts["missed"] += number - expected
            self._say_once(
                "missed",
                "%d KV events of %s were lost before they came here: the recording has a gap in their numbers",
                *(number - expected, self.endpoint),
            )
        if len(self._next) < MOST_UNREAD or topic in self._next:
            self._next[topic] = number + 1

    def _hand_over(self, messages: list[KvMessage]) -> None:
        if messages and not self._take(KvMessages(self.endpoint, messages)):
            self.counts["dropped"] += len(messages)
            self._say_once("dropped", "KV events of %s are not recorded: the writer's queue is full", self.endpoint)

    def _say_once(self, trouble: str, text: str, *arguments: object) -> None:
        if trouble not in self._words:
            self._words.add(trouble)
            log.warning("%s (said once)", text % arguments)
