"""The counters of a proxy as Prometheus metrics. No part of a request, a key or a prompt becomes a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from replayproxy import __version__
from replayproxy.admin.traffic_metrics import of_traffic
from replayproxy.proxy.counters import LATENESS_BOUNDS, Counters


class DataPort(Protocol):
    """The counters of the data port."""

    refusals: Counter[str]
    closings: Counter[str]

    @property
    def connections(self) -> int:
        """Open client connections."""
        ...

    @property
    def resting(self) -> int:
        """Those of them without a request."""
        ...


class HandOverNumbers(Protocol):
    """What is counted of a recorded pair."""

    handed_over: int
    alone: int
    findings: Counter[str]


class ProxyCollector(Collector):
    """Reads the counters at scrape time, so that counting costs the data path an addition."""

    def __init__(
        self,
        mode: str,
        counters: Counters,
        *,
        server: DataPort,
        recorded: Callable[[], int],
        dropped: Callable[[], dict[str, int]],
        queue_bytes: Callable[[], int],
        degraded: Callable[[], bool],
        state_bytes: Callable[[], dict[str, int]] = dict,
        upstream: Callable[[], Mapping[str, int]] = dict,
        hand_overs: HandOverNumbers | None = None,
        records: bool = False,
        queue_limit: int = 0,
        cassette_bytes: Callable[[], int] = int,
        disk_free: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`records`: the run may record; then the metrics of recording are there from the start."""
        self._mode = mode
        self._counters = counters
        self._server = server
        self._recorded = recorded
        self._dropped = dropped
        self._queue_bytes = queue_bytes
        self._degraded = degraded
        self._state_bytes = state_bytes
        self._upstream = upstream
        self._hand_overs = hand_overs
        self._records = records
        self._queue_limit = queue_limit
        self._cassette_bytes = cassette_bytes
        self._disk_free = disk_free

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families."""
        counters = self._counters
        yield _labelled("requests", "Requests by outcome", "outcome", counters.requests)
        yield GaugeMetricFamily("replayproxy_streams_in_flight", "Answers in flight", counters.in_flight)
        server = self._server
        yield GaugeMetricFamily("replayproxy_connections", "Open client connections", server.connections)
        yield GaugeMetricFamily("replayproxy_connections_idle", "Those of them without a request", server.resting)
        yield _labelled("connections_closed", "Client connections closed because of a limit", "limit", server.closings)
        yield _labelled("refused", "Requests refused by the data port, by error code", "code", server.refusals)
        yield CounterMetricFamily("replayproxy_recorded", "Exchanges on the cassette", self._recorded())
        yield from self._of_files()
        yield _labelled("recorded_endings", "Recorded answers by their ending", "ending", counters.endings)
        if self._hand_overs is not None:
            yield from _of_hand_overs(self._hand_overs)
        yield _labelled("record_dropped", "Exchanges that were not recorded", "reason", self._all_dropped())
        yield GaugeMetricFamily("replayproxy_record_queue_bytes", "Bytes in the writer's queue", self._queue_bytes())
        yield GaugeMetricFamily(
            "replayproxy_record_degraded", "1 while the cassette cannot be written", int(self._degraded())
        )
        state = GaugeMetricFamily("replayproxy_state_bytes", "Approximate memory of state, by kind", labels=["kind"])
        for kind, size in sorted(self._state_bytes().items()):
            state.add_metric([kind], size)
        yield state
        upstream = self._upstream()
        yield from _of_upstream(upstream)
        yield from of_traffic(counters.traffic, has_upstream=bool(upstream))
        yield CounterMetricFamily("replayproxy_stalled", "Pauses of the upstream by a slow client", counters.stalled)
        yield CounterMetricFamily(
            "replayproxy_uploads_cut",
            "Requests longer than --max-body: forwarded whole, and recorded cut",
            counters.uploads_cut,
        )
        if counters.faults:
            yield _labelled("faults", "Injected faults, by kind", "kind", counters.faults)
        if counters.carried:
            uses = dict(
                zip(("requests", "answers"), map(sum, zip(*counters.carried.values(), strict=True)), strict=True)
            )
            yield _labelled("carried_ids", "Fresh ids that stood for recorded ones (--carry)", "in", uses)
        yield _labelled("replay_misses", "Requests that no recording answered", "code", counters.misses)
        total, buckets = 0, []
        for bound, count in zip((*map(str, LATENESS_BOUNDS), "+Inf"), counters.lateness_counts, strict=True):
            total += count
            buckets.append((bound, total))
        lateness = HistogramMetricFamily("replayproxy_replay_lateness_seconds", "Chunk sent minus chunk due")
        lateness.add_metric([], buckets, counters.lateness_sum)
        yield lateness
        about = GaugeMetricFamily("replayproxy_build_info", "Version and mode", labels=["version", "mode"])
        about.add_metric([__version__, self._mode], 1)
        yield about

    def _of_files(self) -> Iterator[Metric]:
        if not self._records:
            return
        yield GaugeMetricFamily(
            "replayproxy_record_queue_limit_bytes", "--queue-bytes: above it exchanges are dropped", self._queue_limit
        )
        yield GaugeMetricFamily(
            "replayproxy_cassette_bytes", "Bytes of the cassettes of this run, with their logs", self._cassette_bytes()
        )
        if (free := self._disk_free()) is not None:
            yield GaugeMetricFamily("replayproxy_disk_free_bytes", "Bytes that are free where cassettes are", free)

    def _all_dropped(self) -> dict[str, int]:
        """By reason. A reason has a series before it occurs: an alert on an increase would miss the first one."""
        return {**(dict.fromkeys(DROP_REASONS, 0) if self._records else {}), **self._dropped()}


DROP_REASONS = (
    *("queue full", "write failed", "too long to look for secrets", "failed", "cannot be written"),
    "lost with its file",
    "disk nearly full",
)

_OF_UPSTREAM = {
    "repeated": "Safe requests that an idle connection did not answer, sent once more on a new one",
    "urls_in_bodies": "Answers whose body holds a URL of the server, which leads a client past the proxy",
    "unsplit": "Requests that look like generation, and went to a decode server alone",
}


def _of_upstream(counts: Mapping[str, int]) -> Iterator[Metric]:
    if "idle" in counts:
        yield GaugeMetricFamily(
            "replayproxy_upstream_idle_connections", "Idle connections to the upstream", counts["idle"]
        )
    for name, meaning in _OF_UPSTREAM.items():
        if name in counts:
            yield CounterMetricFamily(f"replayproxy_upstream_{name}", meaning, counts[name])


def _of_hand_overs(counts: HandOverNumbers) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "replayproxy_hand_overs", "Recorded exchanges that prefill handed over to decode", counts.handed_over
    )
    yield CounterMetricFamily("replayproxy_decodes_alone", "Recorded exchanges without a prefill", counts.alone)
    name, meaning = "hand_over_findings", "Recorded exchanges in which verify --pair finds this"
    yield _labelled(name, meaning, "code", counts.findings)


def _labelled(name: str, help: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"replayproxy_{name}", help, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def registry(collector: Collector) -> CollectorRegistry:
    """Return a registry with this collector only. Nothing is global, so that two proxies fit into one process."""
    own = CollectorRegistry(auto_describe=False)
    own.register(collector)
    ProcessCollector(registry=own)  # process_cpu_seconds_total, process_resident_memory_bytes and so on, of /proc
    return own
