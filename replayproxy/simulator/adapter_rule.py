"""A sequence of an adapter starts when the adapter has a slot; those behind it may overtake it, as in vLLM."""

from __future__ import annotations

from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.listeners import Admission
from replayproxy.simulator.sequence import EngineSequence


class AdapterRule:
    """Has a say in what the engine starts."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters

    def admit(self, sequence: EngineSequence) -> Admission:
        """Take a slot, or share the one that the adapter has."""
        if sequence.adapter is None:
            return Admission.ADMITTED
        if not self._adapters.can_run(sequence.adapter):
            return Admission.SKIPPED
        self._adapters.start(sequence.adapter)
        return Admission.ADMITTED

    def release(self, sequence: EngineSequence) -> None:
        """Give the slot back."""
        if sequence.adapter is not None:
            self._adapters.stop(sequence.adapter)
