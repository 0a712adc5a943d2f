"""What a simulator is to be: its models, its size, its latencies and its answers, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from replayproxy.setting_table import default
from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.state_options import StateOptions


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the simulator answers. `served_names` are the names that clients use; without any it is `model` itself."""

    model: str = default("model")
    served_names: tuple[str, ...] = ()
    any_model: bool = False
    """Whether a model of another name is answered too, under the name that the request has."""
    max_model_len: int = default("max_model_len")
    max_num_seqs: int = default("max_num_seqs")
    max_waiting: int = default("max_waiting_queue_length")
    seed: int = default("seed")
    created: str = default("created")
    api_keys: tuple[str, ...] = ()
    counts_cached: bool = False
    """Whether `usage` has the cached tokens of the prompt, as with vLLM's `--enable-prompt-tokens-details`."""
    dimensions: int = default("default_embedding_dimensions")
    answers_from: Path | None = None
    """The cassette whose answers mode `cassette` repeats."""
    fit: Path | None = None
    """The cassette whose latencies are imitated."""
    latency: Latency = field(default_factory=Latency)
    text: TextSettings = field(default_factory=TextSettings)
    state: StateOptions = field(default_factory=StateOptions)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients use; the first one is in answers to requests that name no model."""
        return self.served_names or (self.model,)
