"""Who follows the engine, and who has a say in it: protocols, and many listeners as one.

Metrics are a listener; a KV cache and the slots of adapters are rules of admission.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from replayproxy.simulator.sequence import EngineSequence


class EngineListener(Protocol):
    """Follows what the engine does. Never waits. `at` is when it was due, in ns of the clock."""

    def accepted(self, sequence: EngineSequence, at: int) -> None:
        """It has come; it starts now or waits."""
        ...

    def queued(self, sequence: EngineSequence, at: int) -> None:
        """It waits, because the engine is full or an admission rule has no room for it."""
        ...

    def started(self, sequence: EngineSequence, at: int) -> None:
        """It runs: its prefill, or the transfer of its KV cache, begins. `cached_tokens` is known."""
        ...

    def first_token(self, sequence: EngineSequence, at: int) -> None:
        """The prefill is over."""
        ...

    def token(self, sequence: EngineSequence, at: int, gap: int) -> None:
        """One more token, `gap` ns after the one before it."""
        ...

    def finished(self, sequence: EngineSequence, at: int) -> None:
        """All tokens are there. `finish_reason` says why."""
        ...

    def failed(self, sequence: EngineSequence, at: int) -> None:
        """Its client has left, or it was refused while it waited; `finish_reason` is `abort`."""
        ...

    def rejected(self, sequence: EngineSequence, at: int) -> None:
        """The waiting queue was full: it was never accepted."""
        ...


class Admission(Enum):
    """What an admission rule says of a sequence that wants to start."""

    ADMITTED = "admitted"
    SKIPPED = "skipped"
    """It waits, and those behind it may overtake it: all adapter slots are taken."""
    BLOCKED = "blocked"
    """It waits, and so do all behind it: no blocks are free in the KV cache."""


class AdmissionRule(Protocol):
    """Has a say in what may start, and is told when it is over: a KV cache, the slots of adapters."""

    def admit(self, sequence: EngineSequence) -> Admission:
        """Take what the sequence needs. May set its `cached_tokens`. Nothing is taken unless it is ADMITTED."""
        ...

    def release(self, sequence: EngineSequence) -> None:
        """Give back what an admitted sequence had."""
        ...


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Sequence[EngineListener]) -> None:
        self._all = tuple(listeners)

    def accepted(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.accepted(sequence, at)

    def queued(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.queued(sequence, at)

    def started(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.started(sequence, at)

    def first_token(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.first_token(sequence, at)

    def token(self, sequence: EngineSequence, at: int, gap: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.token(sequence, at, gap)

    def finished(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.finished(sequence, at)

    def failed(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.failed(sequence, at)

    def rejected(self, sequence: EngineSequence, at: int) -> None:
        """Tell all of them."""
        for listener in self._all:
            listener.rejected(sequence, at)
