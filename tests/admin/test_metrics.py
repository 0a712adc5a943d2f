"""Tests of `admin/metrics`: what a scrape reads, and that nothing of a request is in it."""

from __future__ import annotations

from collections import Counter

from prometheus_client import generate_latest

from replayproxy.admin.metrics import ProxyCollector, registry
from replayproxy.proxy.counters import Counters


class Port:
    """A data port with two connections, one of them idle."""

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter({"header_timeout": 1})
        self.closings: Counter[str] = Counter({"idle_timeout": 2})
        self.connections = 2
        self.resting = 1


def scraped(
    counters: Counters, *, degraded: bool = False, upstream: dict[str, int] | None = None, records: bool = False
) -> dict[str, float]:
    """The samples of a scrape by name and labels."""
    collector = ProxyCollector(
        "replay",
        counters,
        server=Port(),
        recorded=lambda: 3,
        dropped=lambda: {"queue full": 4},
        queue_bytes=lambda: 5,
        degraded=lambda: degraded,
        state_bytes=lambda: {"misses": 6},
        upstream=lambda: upstream or {},
        records=records,
        queue_limit=10,
        cassette_bytes=lambda: 11,
        disk_free=lambda: 12,
    )
    lines = generate_latest(registry(collector)).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#") and "_created" not in line)
    return {name.removeprefix("replayproxy_"): float(value) for name, _, value in samples}


def test_a_scrape_reads_the_counters_of_that_moment() -> None:
    """Counting costs the data path an addition; the names are made here."""
    counters = Counters()
    before = scraped(counters)
    assert before["streams_in_flight"] == 0
    counters.requests["replay"] = 7
    counters.misses["no_match"] = 8
    counters.in_flight = 9
    counters.faults["cut"] = 10
    after = scraped(counters, degraded=True)
    expected = {
        'requests_total{outcome="replay"}': 7,
        'replay_misses_total{code="no_match"}': 8,
        'faults_total{kind="cut"}': 10,
        "streams_in_flight": 9,
        "connections": 2,
        "connections_idle": 1,
        'connections_closed_total{limit="idle_timeout"}': 2,
        'refused_total{code="header_timeout"}': 1,
        "recorded_total": 3,
        'record_dropped_total{reason="queue full"}': 4,
        "record_queue_bytes": 5,
        "record_degraded": 1,
        'state_bytes{kind="misses"}': 6,
    }
    assert {name: after[name] for name in expected} == expected


def test_lateness_is_a_histogram_that_ends_with_everything() -> None:
    """Buckets are cumulative, and `+Inf` has all of them."""
    counters = Counters()
    for nanoseconds in (0, 300_000, 2 * 10**9):
        counters.late(nanoseconds)
    buckets = [value for name, value in scraped(counters).items() if name.startswith("replay_lateness_seconds_bucket")]
    assert (buckets[0], buckets[-2], buckets[-1], buckets == sorted(buckets)) == (1, 2, 3, True)


def test_metrics_of_an_upstream_are_there_only_with_one() -> None:
    """A replay that refuses has no connections to a server."""
    assert not [name for name in scraped(Counters()) if name.startswith("upstream_")]
    found = scraped(Counters(), upstream={"idle": 1, "repeated": 2, "unsplit": 3})
    assert {name: value for name, value in found.items() if name.startswith("upstream_") and "_errors" not in name} == {
        "upstream_idle_connections": 1,
        "upstream_repeated_total": 2,
        "upstream_unsplit_total": 3,
    }


def test_metrics_of_files_are_there_where_something_is_recorded() -> None:
    """And each reason to drop an exchange has a series before the first: its increase would else be missed."""
    found = scraped(Counters(), records=True)
    assert (found["record_queue_limit_bytes"], found["cassette_bytes"], found["disk_free_bytes"]) == (10, 11, 12)
    dropped = {name: value for name, value in found.items() if name.startswith("record_dropped_total")}
    assert dropped['record_dropped_total{reason="queue full"}'] == 4
    assert dropped['record_dropped_total{reason="write failed"}'] == 0
    assert "cassette_bytes" not in scraped(Counters())


def test_the_process_is_among_the_metrics() -> None:
    """CPU, memory and open files, under the names that every Prometheus client has."""
    found = scraped(Counters())
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 2**20
    assert found["process_open_fds"] > 0
