"""Latencies, failures and metrics of a simulated server are changed while it runs: all of a change, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.faults.choice import FailureInjection, FaultChooser, FaultSubject
from replayproxy.errors import SettingsError
from replayproxy.simulated_server import SimulatedServer
from replayproxy.simulation_control import SimulationControl
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.state_options import StateOptions
from tests.doubles.fakes import ManualClock


def control(**state: Any) -> tuple[SimulationControl, SimulatedServer, FaultChooser]:
    """Of a server that takes 100 ms for the first token."""
    options = Simulation(model="tiny", latency=Latency(ttft=100_000_000), state=StateOptions(**state))
    simulated, chooser = SimulatedServer(options, ManualClock()), FaultChooser(injection=FailureInjection(5))
    return SimulationControl(simulated, chooser), simulated, chooser


def test_what_can_be_changed_is_shown() -> None:
    """Under the names of the flags, durations in seconds."""
    document = control(replicas=4)[0].document()
    assert document["latency"]["time-to-first-token"] == document["latency"]["ttft"] == 0.1
    assert document["latency"]["time-factor-under-load"] == 1.0
    assert document["failures"] == {"failure-injection-rate": 5, "failure-types": [], "fail": []}
    assert document["metrics"] == {"replicas": 4}


def test_latencies_change_with_the_next_token() -> None:
    """With units, or in the peers' milliseconds; what is not named stays."""
    changing, simulated, _ = control()
    changing.change({"latency": {"time-to-first-token": "2s", "inter-token-latency": 50, "time-factor-under-load": 2}})
    assert simulated.latency == Latency(ttft=2_000_000_000, itl=50_000_000, time_factor=2.0)
    changing.change({"latency": {"inter-token-latency": "0s"}})
    assert simulated.latency == Latency(ttft=2_000_000_000, time_factor=2.0)


def test_failures_change_with_the_next_request() -> None:
    """Those of llm-d-inference-sim, and those of `--fail`."""
    changing, _, chooser = control()
    document = changing.change(
        {"failures": {"failure-injection-rate": 100, "failure-types": ["rate_limit"], "fail": ["status=503,first=1"]}}
    )
    assert document["failures"] == {
        "failure-injection-rate": 100,
        "failure-types": ["rate_limit"],
        "fail": ["status=503,first=1"],
    }
    subject = FaultSubject("POST", "/v1/completions", "tiny", "rp1:1")
    faults = [chooser.choose(subject) for _ in range(2)]
    assert [fault.status if fault else None for fault in faults] == [503, 429]
    changing.change({"failures": {"failure-injection-rate": 0, "fail": []}})
    assert chooser.choose(subject) is None


def test_metrics_are_set_and_taken_back() -> None:
    """Over the measured ones; of a page of given values, the given ones."""
    changing, _, _ = control()
    assert changing.change({"metrics": {"running": 7}})["metrics"] == {"running": 7.0}
    assert changing.change({"metrics": {"running": None}})["metrics"] == {}
    given, simulated, _ = control(fake_metrics={"running-requests": 1})
    assert given.change({"metrics": {"waiting-requests": 3}})["metrics"] == {
        "running-requests": 1,
        "waiting-requests": 3,
    }
    assert simulated.set_values["waiting-requests"] == 3


BAD: list[tuple[Any, str]] = [
    (None, "a change is an object such as"),
    ({}, "a change is an object such as"),
    ({"latencies": {}}, "did you mean latency"),
    ({"latency": 5}, "latency is an object"),
    ({"latency": {"time-to-frist-token": 1}}, "did you mean time-to-first-token"),
    ({"latency": {"time-to-first-token": "soon"}}, "time-to-first-token"),
    ({"latency": {"time-to-first-token-std-dev": "1s"}}, "more than 30 %"),
    ({"failures": {"rate": 1}}, "is not a failure setting"),
    ({"failures": {"failure-injection-rate": 101}}, "failure-injection-rate"),
    ({"failures": {"failure-types": ["rate_limits"]}}, "did you mean rate_limit"),
    ({"failures": {"fail": "explode@3"}}, "fail "),
    ({"failures": {"fail": [3]}}, "a text or a list of texts"),
    ({"metrics": {"runing": 1}}, "metrics: "),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=[words for _, words in BAD])
def test_what_cannot_be_changed_changes_nothing(changes: Any, words: str) -> None:
    """Also not what came with it."""
    changing, simulated, chooser = control()
    before = changing.document()
    if isinstance(changes, dict) and changes:
        changes = {"latency": {"inter-token-latency": 9}, "failures": {"failure-injection-rate": 9}, **changes}
    with pytest.raises(SettingsError, match=words):
        changing.change(changes)
    assert changing.document() == before
    assert (simulated.latency.itl, chooser.injection.percent) == (0, 5)
