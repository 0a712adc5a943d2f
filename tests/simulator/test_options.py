"""Tests of `simulator/options`."""

from __future__ import annotations

from replayproxy.simulator.options import Simulation


def test_names_are_those_that_are_served() -> None:
    """Without any, the model's own; defaults are those of llm-d-inference-sim."""
    assert Simulation(model="a").names == ("a",)
    assert Simulation(model="a", served_names=("b", "c")).names == ("b", "c")
    assert (Simulation().max_num_seqs, Simulation().max_model_len, Simulation().max_waiting) == (5, 1024, 1000)
