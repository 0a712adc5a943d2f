"""What became of a run: what was served, what was missed, what nobody asked for.

A value, made of what a proxy has counted; who prints it, writes it or turns it into an exit code knows how. A run that
served nothing has proven nothing, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replayproxy.model import Place
from replayproxy.proxy.misses import Miss


@dataclass(frozen=True, slots=True)
class Recording:
    """A playable answer on a cassette, by the names that people know it by."""

    cassette: str
    id: str
    place: Place
    method: str
    path: str

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "cassette": self.cassette,
            "id": self.id,
            "key": self.place.key,
            "occurrence": self.place.occurrence,
            "method": self.method,
            "path": self.path,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """Equal misses: how often, and the number under which the client was told."""

    id: str
    miss: Miss
    times: int

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"id": self.id, "times": self.times, **self.miss.document()}


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `lateness_max` in seconds."""

    mode: str
    cassettes: tuple[str, ...]
    recordings: int
    """Playable answers when the run ended."""
    served: int
    """Answers that came from recordings."""
    forwarded: int
    recorded: int
    dropped: int
    simulated: int
    causes: tuple[Cause, ...]
    unused: tuple[Recording, ...]
    lateness_max: float

    @property
    def misses(self) -> int:
        """Requests that no recording answered, the equal ones counted each."""
        return sum(cause.times for cause in self.causes)

    @property
    def vacuous(self) -> bool:
        """Whether nothing was served: such a run is no pass."""
        return not (self.served or self.recorded or self.forwarded or self.simulated)

    def document(self) -> dict[str, Any]:
        """As JSON has it. Times in seconds."""
        return {
            "mode": self.mode,
            "cassettes": list(self.cassettes),
            "recordings": self.recordings,
            "served": self.served,
            "forwarded": self.forwarded,
            "recorded": self.recorded,
            "dropped": self.dropped,
            "simulated": self.simulated,
            "misses": [cause.document() for cause in self.causes],
            "unused": [recording.document() for recording in self.unused],
            "lateness_max_s": self.lateness_max,
        }
