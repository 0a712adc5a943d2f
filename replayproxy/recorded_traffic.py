"""Answers and latencies of a cassette, for the simulator: texts to repeat, and times to imitate.

    cassette ──▶ exchanges that were whole ──▶ texts, RecordedRequest each ──▶ Simulation with corpus and fitted times

The place where `cassette` and `simulator` meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import events_at, facts_of, parsed, text_of
from replayproxy.core.dialects.table import text_in
from replayproxy.core.headers import is_event_stream
from replayproxy.errors import SettingsError, setting
from replayproxy.model import Ending, Exchange
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.recorded_times import HeldOutError, RecordedRequest, RecordedTimes, held_out_errors

MOST_EXCHANGES = 4000
"""Exchanges of a cassette that are read, the latest ones: half a minute at most."""

MOST_TEXT = 64 * 1024 * 1024
"""Bytes of texts that are kept."""

BYTES_PER_TOKEN = 4
"""Of a prompt whose tokens the answer does not count."""


@dataclass(frozen=True, slots=True)
class RecordedTraffic:
    """What a cassette has for the simulator."""

    texts: tuple[str, ...]
    requests: tuple[RecordedRequest, ...]


def read_traffic(path: Path) -> RecordedTraffic:
    """Read the answers with text of a cassette. Raises `CassetteError`."""
    with CassetteReader(path) as cassette:
        rows = list(cassette.rows(columns="number", order="number DESC", limit=MOST_EXCHANGES))
        exchanges = [cassette.exchange(row["number"]) for row in reversed(rows)]
    whole = [one for one in exchanges if one.response.status == 200 and one.response.ending is Ending.COMPLETE]
    texts: list[str] = []
    room = MOST_TEXT
    for exchange in whole:
        text = text_of(exchange.response)
        room -= len(text)
        if text and room > 0:
            texts.append(text)
    return RecordedTraffic(tuple(texts), tuple(_requests(whole)))


def _requests(exchanges: Sequence[Exchange]) -> Iterator[RecordedRequest]:
    """The latencies of each streamed answer with content."""
    spans = [(one.recorded_at, one.recorded_at + one.response.timeline.end) for one in exchanges]
    for exchange, (arrived, _) in zip(exchanges, spans, strict=True):
        if not is_event_stream(exchange.response.headers):
            continue
        times = [at for at, event in events_at(exchange.response) if text_in(parsed(event.data.encode()))]
        if not times:
            continue
        prompt = facts_of(exchange.request, exchange.response).prompt_tokens
        yield RecordedRequest(
            prompt=len(body_of(exchange.request)) // BYTES_PER_TOKEN if prompt is None else prompt,
            running=sum(begin <= arrived < end for begin, end in spans) or 1,
            first_token=times[0],
            gaps=tuple(after - before for before, after in pairwise(times)),
        )


def with_recordings(simulation: Simulation) -> Simulation:
    """The same with texts and times of the cassettes that it names. Raises `SettingsError`, `CassetteError`."""
    if simulation.text.mode == "cassette" and simulation.answers_from is None:
        raise SettingsError(
            f"{setting('answer_mode', 'cassette')} repeats recorded answers: name the cassette with"
            f" {setting('answers_from', 'CASSETTE')}"
        )
    if simulation.answers_from is not None:
        traffic = read_traffic(simulation.answers_from)
        if not traffic.texts:
            raise SettingsError(
                f"{setting('answers_from', simulation.answers_from)} has no answer with a text: name a cassette of"
                " chats or completions"
            )
        simulation = replace(simulation, text=replace(simulation.text, mode="cassette", corpus=traffic.texts))
        simulation = _fitted(simulation, traffic)
    if simulation.fit is not None:
        traffic = read_traffic(simulation.fit)
        if not traffic.requests:
            raise SettingsError(
                f"{setting('fit', simulation.fit)} has no streamed answer, so no latencies: record some with"
                " stream: true"
            )
        simulation = _fitted(simulation, traffic)
    return simulation


def errors_of_fit(path: Path) -> list[HeldOutError]:
    """How well latencies of every second request predict the others. Raises `CassetteError`."""
    return held_out_errors(read_traffic(path).requests)


def _fitted(simulation: Simulation, traffic: RecordedTraffic) -> Simulation:
    times = RecordedTimes.of(traffic.requests)
    return replace(simulation, latency=replace(simulation.latency, recorded=times))


def with_times_of(simulation: Simulation, path: Path, speed: float) -> Simulation:
    """The same simulation with the latencies of a cassette, so many times as fast. Raises `CassetteError`."""
    times = RecordedTimes.of(read_traffic(path).requests)
    if times is None:
        return simulation
    return replace(simulation, latency=replace(simulation.latency, recorded=times.faster(speed)))
