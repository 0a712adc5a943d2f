"""A simulator with all its state, on a clock that takes no time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.simulator import Simulator
from replayproxy.simulator.state import SimulatedState
from replayproxy.simulator.state_options import StateOptions
from tests.doubles.simulation import MS, Answered, ask, request, together
from tests.doubles.virtual_clock import VirtualClock

SLOW = Latency(prefill_per_token=1 * MS, itl=10 * MS)
"""A prefill takes 1 ms for each token that is not cached, and a token 10 ms."""


@dataclass
class StatefulServer:
    """The server, its clock and its state."""

    simulator: Simulator
    state: SimulatedState
    clock: VirtualClock
    batches: list[tuple[float, bytes, bytes]] = field(default_factory=list)
    """What was published: when, in ms, number and payload."""

    def publish(self, sequence: bytes, payload: bytes) -> None:
        """Keep a batch."""
        self.batches.append((self.clock.now() / MS, sequence, payload))

    def get(self, path: str) -> Answered:
        """What it answers to a GET."""
        return ask(path, of=self.simulator)

    def post(self, path: str, body: Any) -> Answered:
        """What it answers to a POST."""
        return ask(path, body, of=self.simulator)

    def play(self, *asked: tuple[float, str, Any]) -> list[Answered]:
        """What it answers to requests that come at these ms; None for a body is a GET."""
        return together(self.simulator, self.clock, [(at, request(path, body)) for at, path, body in asked])

    def metrics(self) -> dict[str, float]:
        """Its page now."""
        return values(self.get("/metrics"))


def values(page: Answered) -> dict[str, float]:
    """The samples of a page, read by the parser of Prometheus, as `name{VALUE,…}` with the values of its own labels."""
    assert page.status == 200
    found = {}
    for family in text_string_to_metric_families(page.body.decode()):
        for sample in family.samples:
            labels = [value for name, value in sorted(sample.labels.items()) if name not in ("engine", "model_name")]
            found[sample.name.removeprefix("vllm:") + (f"{{{','.join(labels)}}}" if labels else "")] = sample.value
    return found


def server(
    *, latency: Latency = SLOW, max_num_seqs: int = 5, longest: int = 1024, publishes: bool = False, **state: Any
) -> StatefulServer:
    """A server of the model `tiny`, whose answers have all the tokens that a request allows."""
    clock = VirtualClock()
    options = Simulation(
        model="tiny",
        latency=latency,
        max_num_seqs=max_num_seqs,
        max_model_len=longest,
        text=TextSettings(length="max"),
        state=StateOptions(**state),
    )
    simulated = SimulatedState(options, clock)
    simulator = Simulator(options, clock, listeners=simulated.listeners, rules=simulated.rules)
    simulated.attach(simulator)
    made = StatefulServer(simulator, simulated, clock)
    if publishes:
        simulated.publish_to(made)
    return made


def completion(prompt: str | list[int], tokens: int = 3, **more: Any) -> dict[str, Any]:
    """The body of a completion."""
    return {"model": "tiny", "prompt": prompt, "max_tokens": tokens, **more}
