"""What became of a request, for the access log."""

from __future__ import annotations

from dataclasses import dataclass

from replayproxy.core.policy import Decision, Forward, Probe, Record, Refuse, Replay, Simulate
from replayproxy.views.access import Outcome


@dataclass(frozen=True, slots=True)
class Answered:
    """An outcome with its details. `id` names the recording, or the miss."""

    outcome: Outcome
    id: str | None = None
    status: int = 0
    """Where the client got an error of the proxy's own instead of an answer."""
    cause: str | None = None
    differs: str | None = None


_OUTCOMES: dict[type[Decision], Outcome] = {
    Replay: Outcome.REPLAYED,
    Record: Outcome.RECORDED,
    Forward: Outcome.FORWARDED,
    Simulate: Outcome.SIMULATED,
    Probe: Outcome.ANSWERED,
    Refuse: Outcome.MISS,
}


def planned(decision: Decision) -> Answered:
    """Return what a decision leads to, unless something fails: where the client leaves, this is all that is known."""
    return Answered(_OUTCOMES[type(decision)])
