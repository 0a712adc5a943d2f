"""Tests of `recorded_traffic`: texts and times of a cassette, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replayproxy.errors import SettingsError
from replayproxy.model import Request
from replayproxy.recorded_traffic import errors_of_fit, read_traffic, with_recordings, with_times_of
from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from tests.doubles.simulation import MS, ask, chat
from tests.recordings import record_answers

CASSETTE = Path(__file__).parents[1] / "cassettes" / "format-2.cassette"


def test_texts_and_times_are_read() -> None:
    """Of whole answers; times of those that were streamed, with the load at which they came."""
    traffic = read_traffic(CASSETTE)
    assert len(traffic.texts) > 20
    assert len(traffic.requests) > 15
    first = traffic.requests[0]
    assert (first.running, len(first.gaps) > 10) == (1, True)
    assert 100 * MS < first.first_token < 2000 * MS


def test_answers_are_those_of_the_cassette_and_take_as_long() -> None:
    """In every dialect; a latency that is given counts instead."""
    simulation = with_recordings(Simulation(answers_from=CASSETTE))
    texts = set(read_traffic(CASSETTE).texts)
    options: dict[str, Any] = {"text": simulation.text, "latency": simulation.latency, "max_model_len": 4096}
    answers = [ask("/v1/chat/completions", chat(f"Question {number}"), **options) for number in range(20)]
    found = {answer.json["choices"][0]["message"]["content"] for answer in answers}
    assert found <= texts
    assert len(found) > 5
    assert all(answer.ended and answer.ended > 40 for answer in answers)
    fixed = with_recordings(Simulation(answers_from=CASSETTE, latency=Latency(ttft=7 * MS, itl=MS)))
    told = ask("/v1/chat/completions", chat(stream=True), text=fixed.text, latency=fixed.latency)
    assert told.chunks[0][0] == 7


def test_a_fit_has_times_and_no_texts() -> None:
    """And an error that can be printed."""
    simulation = with_recordings(Simulation(fit=CASSETTE))
    assert (simulation.text.corpus, simulation.latency.recorded is not None) == ((), True)
    assert [error.name for error in errors_of_fit(CASSETTE)] == [
        "first token median", "first token p99", "gap median", "gap p99",
    ]  # fmt: skip


def test_a_replay_at_another_speed_has_other_times() -> None:
    """Twice as fast."""
    slow, fast = (with_times_of(Simulation(), CASSETTE, speed).latency.recorded for speed in (1.0, 2.0))
    assert slow is not None
    assert fast is not None
    assert [one.first_token for one in fast.requests] == [round(one.first_token / 2) for one in slow.requests]


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    """The mode without a cassette; a cassette without answers."""
    with pytest.raises(SettingsError, match="name the cassette with --answers-from CASSETTE"):
        with_recordings(Simulation(text=TextSettings(mode="cassette")))
    path = record_answers(tmp_path / "a.cassette", (Request("GET", "/v1/models"), b"{}"))
    with pytest.raises(SettingsError, match="has no answer with a text"):
        with_recordings(Simulation(answers_from=path))
    with pytest.raises(SettingsError, match="has no streamed answer"):
        with_recordings(Simulation(fit=path))
