"""Scenarios against the simulator over sockets: phases, lengths, hit rates, and what the exit code says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from replayproxy.core.policy import Mode
from replayproxy.drive.scenario import ScenarioOptions
from replayproxy.drive.scenario_results import CacheHits
from replayproxy.errors import SettingsError
from replayproxy.load_run import Stopping
from replayproxy.scenario_run import ScenarioResult, ScenarioRun, run_scenario, scenario_codes
from replayproxy.settings import Settings
from replayproxy.simulator.options import Simulation
from tests.apps import run, running
from tests.doubles.upstreams import Send, scripted

SECOND = 1_000_000_000


def result_of(name: str, **more: Any) -> ScenarioResult:
    """Run a scenario against a simulator."""
    options = ScenarioOptions(name, "", "r", max_new_tokens=4, **more)

    async def whole() -> ScenarioResult:
        async with running(Settings(Mode.SIMULATE, simulation=Simulation(model="tiny"))) as server:
            return await run_scenario(ScenarioRun(options, server.url, bound=60 * SECOND), Stopping(), lambda *_: None)

    return run(whole())


def test_a_batch_has_the_length_that_is_asked_for() -> None:
    """By the server's own tokenizer, within 15 %; the first model that it lists is taken."""
    found = result_of("unit", batch=2, input_length=200)
    assert (found.model, found.is_estimated) == ("tiny", False)
    assert [(phase.name, len(phase.users), phase.is_ok) for phase in found.phases] == [
        ("warmup", 2, True), ("run", 2, True),
    ]  # fmt: skip
    assert all(one.prompt_tokens == pytest.approx(200, rel=0.15) for phase in found.phases for one in phase.users)
    assert all(one.output_tokens == 4 for phase in found.phases for one in phase.users)
    assert scenario_codes(found, checks_quality=False) == (0, "every request was answered")


def test_the_hit_rate_beside_the_theoretical_one() -> None:
    """Three of four questions find the article."""
    found = result_of("prefix-cache", input_length=300)
    assert found.hits is not None
    assert 0.6 < (found.hits.theoretical or 0) < 0.75
    assert len(found.phases) == 1


def test_exit_codes() -> None:
    """No hit is a failure, no statement is undecided, and a text counts only where it is checked."""
    found = result_of("users", users=1)
    assert scenario_codes(replace(found, hits=CacheHits(0.0, None, 0.7)), checks_quality=False)[0] == 5
    assert scenario_codes(replace(found, hits=CacheHits(None, None, 0.7)), checks_quality=False)[0] == 9
    assert scenario_codes(replace(found, hits=CacheHits(None, 0.7, 0.7)), checks_quality=False)[0] == 0
    phase = found.phases[-1]
    garbled = replace(found, phases=(replace(phase, users=(replace(phase.users[0], quality=("empty",)),)),))
    assert scenario_codes(garbled, checks_quality=False)[0] == 0
    code, why = scenario_codes(garbled, checks_quality=True)
    assert (code, "run_1: empty" in why) == (5, True)


def test_a_server_without_a_model_is_refused() -> None:
    """With the flag that names one."""

    async def whole() -> None:
        async with scripted(Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), again=True) as server:
            await run_scenario(ScenarioRun(ScenarioOptions("users", "", "r"), server.url), Stopping(), lambda *_: None)

    with pytest.raises(SettingsError, match="--model-id"):
        run(whole())
