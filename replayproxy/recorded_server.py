"""The state of the recorded server while its answers are replayed: its metrics and its KV events.

    recorded   pages and messages as they were at that moment of the recording (`proxy.replay_clock`), held at the end
    computed   the metrics that a server would have that gives the answers which are being played

The place where `cassette`, `net` and `simulator` meet for this.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.server_state import StoredState
from replayproxy.cassette.store import CassetteStore
from replayproxy.core.server_state import SCRAPED, KvMessage
from replayproxy.errors import CassetteError
from replayproxy.model import RecordingRef, Response
from replayproxy.ports import Clock
from replayproxy.proxy.replay_clock import ReplayClock
from replayproxy.settings import Settings

if TYPE_CHECKING:
    from replayproxy.net.zmq_publisher import Frames, ZmqPublisher
    from replayproxy.simulator.played_metrics import PlayedMetrics

log = logging.getLogger("replayproxy.replay")

ROWS_AT_ONCE = 20
"""Rows of messages that are read ahead."""

END_OF_TIME = 2**63 - 1

BEFORE_ALL = (-1, "")


class RecordedServer:
    """The server of one replay."""

    def __init__(self, settings: Settings, store: CassetteStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._speed = settings.replaying.speed
        self._state = settings.simulation.state
        self._replay_clock = ReplayClock(clock, self._speed)
        self._is_computed = settings.replaying.server_metrics == "computed"
        self._computed: PlayedMetrics | None = None
        self._max_model_len = settings.simulation.max_model_len
        self._sources: list[tuple[CassetteReader, StoredState]] = []
        self._last_recorded_at = 0
        self._publisher: ZmqPublisher | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._published: deque[Frames] = deque(maxlen=self._state.replay_batches)

    def start(self) -> None:
        """The cassettes are open, and the loop runs. Raises `SettingsError`, `CassetteError`."""
        states = [(cassette, StoredState(cassette)) for cassette in self._store.cassettes]
        self._sources = [(cassette, state) for cassette, state in states if state.is_there]
        last = "SELECT coalesce(max(recorded_at), 0) FROM exchange WHERE occurrence IS NOT NULL"
        self._last_recorded_at = max((int(cassette.one(last)[0]) for cassette, _ in self._sources), default=0)
        if self._is_computed:
            from replayproxy.simulator.played_metrics import PlayedMetrics

            models = self._store.about_servers()[1]
            self._computed = PlayedMetrics(
                model=models[0] if models else "",
                max_model_len=self._max_model_len,
                cache_tokens=self._state.kv_cache_size * self._state.block_size,
                created=self._clock.today() / 1e9,
                generation=self._state.metrics_of,
            )
        if self._state.zmq_endpoint is not None:
            from replayproxy.net.zmq_publisher import ZmqPublisher  # loads pyzmq

            self._publisher = ZmqPublisher(
                self._state.zmq_endpoint, replay_endpoint=self._state.replay_endpoint, since=self._since
            )
            self._publisher.start()
            self._publish()

    async def close(self) -> None:
        """Publish no more, and close the sockets."""
        await self._end_publishing()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def reset(self) -> None:
        """The replay begins again, and the recorded server with it."""
        self._replay_clock.reset()
        if self._publisher is not None:
            self._published.clear()
            self._publish()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where events are published and replayed."""
        if self._publisher is None:
            return ()
        return tuple(one for one in (self._publisher.endpoint, self._publisher.replay_endpoint) if one is not None)

    # Answers

    @contextmanager
    def playing(self, place: RecordingRef, response: Response) -> Iterator[None]:
        """An answer is played within this block."""
        metrics = self._computed
        if metrics is None and not (self._sources and self._replay_clock.needs_more):
            yield
            return
        try:
            facts = self._store.facts(place)
        except CassetteError:  # the answer itself was read: nothing is played less because of this
            yield
            return
        # Behind the last recording there is none that would bring the state on to its end.
        is_last = facts.recorded_at >= self._last_recorded_at
        self._replay_clock.play(facts.recorded_at, END_OF_TIME - facts.recorded_at if is_last else facts.total)
        if metrics is None:
            yield
            return
        from replayproxy.simulator.played_metrics import is_generation

        if not is_generation(facts):
            yield
            return
        played = metrics.begin(facts, response.timeline.chunks, self._clock.now(), self._speed)
        try:
            yield
        except BaseException:
            metrics.end(played, self._clock.now(), is_whole=False)
            raise
        metrics.end(played, self._clock.now(), is_whole=True)

    # Metrics

    async def page(self) -> bytes | None:
        """The page of metrics now; None where nothing is known of it. Raises `CassetteError`."""
        if self._computed is not None:
            return self._computed.text(self._clock.now())
        for cassette, state in self._sources:
            page = await self._store.aside(self._page_of, cassette, state, self._replay_clock.moment() or 0)
            if page is not None:
                return page
        return None

    def _page_of(self, cassette: CassetteReader, state: StoredState, moment: int) -> bytes | None:
        servers = [server for kind, server in state.counts() if kind == "metrics"]
        scraped = cassette.meta.get(SCRAPED)
        first = [server for server in scraped if server in servers] if isinstance(scraped, list) else []
        for server in (*first, *servers):
            return state.page_at(server, moment)
        return None

    # Events

    def _publish(self) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
        self._publishing = asyncio.get_running_loop().create_task(self._publish_all())

    async def _end_publishing(self) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing

    async def _publish_all(self) -> None:
        """Publish each message at its moment; the last one is the end."""
        try:
            for _, state in self._sources:
                last = BEFORE_ALL
                while rows := await self._store.aside(state.messages_from, *last, ROWS_AT_ONCE):
                    messages = [message for row in rows for message in row.messages]
                    for message in sorted(messages, key=lambda one: one.at):
                        await self._replay_clock.reach(message.at)
                        self._send(message)
                    last = rows[-1].at, rows[-1].server
        except CassetteError as error:
            log.error("no more KV events are published: %s", error)

    def _send(self, message: KvMessage) -> None:
        assert self._publisher is not None, "messages are published without a publisher"
        self._published.append((message.topic, message.sequence, message.payload))
        self._publisher.publish(message.sequence, message.payload, message.topic)

    def _since(self, sequence: int) -> Sequence[Frames]:
        return [frames for frames in self._published if int.from_bytes(frames[1], "big") >= sequence]
