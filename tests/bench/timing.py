"""How punctual a replay at speed 1 is: with 16 and with 300 streams at once, as clients see it and as it says itself.

A client's clock starts when it sends its request, a recording's when the request was complete; so what a client sees
holds both trips over the loopback, and its own waiting for the core that it shares with the other clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.stats import percentile
from tests.bench.conversation import EXTRA_EVENTS, PATH, Chat, asked
from tests.bench.crowd import Plan
from tests.bench.processes import crowd, port_of, replayer
from tests.bench.replay import recorded
from tests.bench.report import Verdict, table

RATE = 40
CHUNKS = 120
CHATS = [Chat(number, CHUNKS - EXTRA_EVENTS) for number in range(300)]
SPREAD = {16: 0.0, 300: 0.5}
"""Seconds over which so many streams begin."""

BOUND = 5.0
"""Milliseconds at p99, with 16 streams."""


@dataclass(frozen=True, slots=True)
class Punctuality:
    """Milliseconds after the recorded time."""

    streams: int
    errors: list[float]
    """Of each chunk as its client saw it, smallest first."""
    drift: float
    """Mean error of the last ten chunks of the streams, minus that of their first ten."""
    own: tuple[str, str, str]
    """Median, p99 and largest lateness, as the proxy says."""


def measure(folder: Path) -> list[Verdict]:
    """Print the table."""
    cassette = recorded(folder, CHATS, RATE, spread=SPREAD[len(CHATS)])
    found = [_play(folder, cassette, streams) for streams in SPREAD]
    title = (
        f"Timing: replay at speed 1, {CHUNKS} chunks a stream, {RATE} a second; milliseconds after the recorded time"
    )
    headings = ("streams", "chunks", "p50", "p99", "max", "drift", "by its own metric: p50", "p99", "max")
    print(table(title, headings, [_row(one) for one in found]))
    return [
        Verdict(
            "lateness of 16 streams at speed 1, p99", percentile(found[0].errors, 99), BOUND, unit="ms", counted=False
        )
    ]


def _play(folder: Path, path: Path, streams: int) -> Punctuality:
    chats = CHATS[:streams]
    bodies = [chat.body.decode() for chat in chats]
    with replayer(path, "--speed", "1") as proxy:
        plan = Plan(port_of(proxy.url), PATH, bodies, streams, spread=SPREAD[streams], keep_times=True)
        heard = crowd(plan)
        with urlopen(f"{proxy.admin_url}/metrics") as answer:
            metrics = answer.read().decode()
    said = re.search(r"largest lateness ([\d.]+) ms", proxy.said)
    wanted = _recorded_times(path)
    errors = []
    for answer in heard.answers:
        due = wanted[answer.body]
        if answer.checksum != chats[answer.body].checksum or len(answer.times) != len(due) + 1:  # the last-chunk is one
            raise RuntimeError(f"chat {answer.body} was not replayed as it was recorded")
        errors.append([(came - at) / 1e6 for came, at in zip(answer.times, due, strict=False)])
    return Punctuality(
        streams=streams,
        errors=sorted(error for one in errors for error in one),
        drift=fmean(fmean(one[-10:]) - fmean(one[:10]) for one in errors),
        own=(_lateness(metrics, 50), _lateness(metrics, 99), said[1] if said else "?"),
    )


def _recorded_times(path: Path) -> dict[int, tuple[int, ...]]:
    """When each chunk of each chat was due, in ns."""
    with CassetteReader(path) as cassette:
        exchanges = [cassette.exchange(row[0]) for row in cassette.all("SELECT id FROM exchange")]
    return {asked(one.request.body).number: one.response.timeline.chunks for one in exchanges}


def _lateness(metrics: str, percent: float) -> str:
    """Where a percentile lies in the proxy's own histogram."""
    name = "replayproxy_replay_lateness_seconds"
    family = next(one for one in text_string_to_metric_families(metrics) if one.name == name)
    buckets = [(float(one.labels["le"]), one.value) for one in family.samples if one.name == f"{name}_bucket"]
    total = buckets[-1][1]
    return f"<= {next(bound for bound, count in buckets if count >= total * percent / 100) * 1000:g}"


def _row(found: Punctuality) -> tuple[str, ...]:
    return (
        str(found.streams),
        str(len(found.errors)),
        *(f"{percentile(found.errors, percent):.2f}" for percent in (50, 99, 100)),
        f"{found.drift:+.3f}",
        *found.own,
    )
