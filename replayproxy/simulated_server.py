"""A simulator with its state and the sockets of its events, for the verb that serves nothing else.

    assemble ──▶ SimulatedServer ──▶ listening(port): fields of answers, events ──▶ close

The place where `simulator` and `net` meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from replayproxy.errors import SettingsError, setting
from replayproxy.ports import Clock
from replayproxy.simulator.fake_metrics import BadFakeMetrics
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.metric_overrides import BadOverride
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.pod import event_topic, pod_fields
from replayproxy.simulator.simulator import Simulator
from replayproxy.simulator.state import SimulatedState

if TYPE_CHECKING:
    from replayproxy.net.zmq_publisher import Frames, ZmqPublisher
    from replayproxy.simulator.kv_feed import KvEventFeed


class SimulatedServer:
    """One data-parallel rank of a simulated vLLM."""

    def __init__(self, options: Simulation, clock: Clock, *, late: Callable[[int], None] = lambda _: None) -> None:
        """Raises `SettingsError`."""
        self._options = options
        self._state = SimulatedState(options, clock)
        self.simulator = Simulator(options, clock, listeners=self._state.listeners, rules=self._state.rules, late=late)
        self._state.attach(self.simulator)
        self._publisher: ZmqPublisher | None = None
        self._feed: KvEventFeed | None = None

    def listening(self, host: str, port: int, environment: Mapping[str, str]) -> None:
        """The server has its port: answers say in which pod, and events go out. Raises `SettingsError`."""
        self.simulator.fields = pod_fields(environment, port)
        state = self._options.state
        if state.zmq_endpoint is None or not state.enable_kvcache:
            return
        from replayproxy.net.zmq_publisher import ZmqPublisher, of_rank  # loads pyzmq

        replay = state.replay_endpoint
        if replay is not None and of_rank(replay, state.rank) == of_rank(state.zmq_endpoint, state.rank):
            raise SettingsError(f"{setting('zmq_endpoint')} and {setting('kv_events_replay_endpoint')} are the same")
        topic = state.event_topic
        publisher = ZmqPublisher(
            of_rank(state.zmq_endpoint, state.rank),
            event_topic(environment, host, port, self._options.model) if topic is None else topic,
            replay_endpoint=of_rank(replay, state.rank) if replay is not None else None,
            since=self._since,
        )
        publisher.start()
        self._publisher, self._feed = publisher, self._state.publish_to(publisher)

    def close(self) -> None:
        """Publish what is pending, and close the sockets."""
        self._state.close()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    @property
    def latency(self) -> Latency:
        """How long a prefill and a token take."""
        return self.simulator.engine.latency

    @latency.setter
    def latency(self, latency: Latency) -> None:
        """Count from the next token on."""
        self.simulator.engine.latency = latency

    @property
    def set_values(self) -> dict[str, Any]:
        """The values of metrics that have been set."""
        return self._state.served.set_values

    def set_metrics(self, values: Mapping[str, Any]) -> None:
        """Set values of metrics over the measured ones; None takes one back. Raises `SettingsError`."""
        try:
            self._state.served.set_metrics(values)
        except (BadOverride, BadFakeMetrics) as error:
            raise SettingsError(f"metrics: {error}") from error

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where events are published and replayed."""
        if self._publisher is None:
            return ()
        return tuple(one for one in (self._publisher.endpoint, self._publisher.replay_endpoint) if one is not None)

    def _since(self, sequence: int) -> list[Frames]:
        if self._feed is None or self._publisher is None:
            return []
        topic = self._publisher.topic
        return [(topic, number, payload) for number, payload in self._feed.since(sequence)]
